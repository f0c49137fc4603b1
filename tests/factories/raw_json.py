"""Valid JSON (RFC 8259) and bytes that only resemble it."""

_VALUES = [b"1", b'"a"', b"true", b"null", b"[]", b"{}"]

NOT_JSON: list[bytes] = [
    b"",
    b" ",
    b"\n\t\r ",
    *(value[:-1] for value in (b'"a"', b"true", b"null", b"[]", b"{}", b"[1]", b'{"a":1}')),
    *(value + value for value in (b'"a"', b"[]", b"{}", b"null", b"true")),
    *(value + extra for value in _VALUES for extra in (b",", b"]", b"}", b"x", b"\0", b"#", b"//")),
    *(b"[" + inner + b"]" for inner in (b",", b"1,", b",1", b"1,,2", b"1 2", b"1;2", b"1:2", b"a")),
    *(b"{" + inner + b"}" for inner in (
        b",", b'"a"', b'"a":', b'"a":1,', b',"a":1', b'"a" 1', b'"a"::1', b'"a":1 "b":2', b"a:1",
        b"1:1", b"'a':1", b"null:1", b"[]:1", b'"a":1;', b'"a","b"', b'"a":1,,"b":2', b'"a":a',
        b"{}", b"[1]", b"\x00", b'"a"=1', b'"a":1/**/', b'"a":/*x*/1', b'"a":1#x',
    )),
    *(b"[" + number + b"]" for number in (
        b"01", b"-01", b"+1", b"-", b"--1", b"-a", b".1", b"-.1", b"1.", b"1.e1", b"1e", b"1e+", b"1e-",
        b"1e1.5", b"1ee1", b"0x1", b"0b1", b"1_000", b"1a", b"1 000", b"NaN", b"-NaN", b"Infinity",
        b"-Infinity", b"inf", b"nan", b"\xef\xbc\x91", b"1e\xef\xbc\x91", b"0e+-1", b"00", b"-0x1",
        b"2.e3", b"9.e+", b"Inf", b"1+2", b"$1", b"1n", b"1f", b"\xd9\xa1",
    )),
    *(b"[" + word + b"]" for word in (
        b"True", b"TRUE", b"tru", b"False", b"fals", b"Null", b"NULL", b"nul", b"None", b"undefined",
        b"yes", b"nulll", b"truefalse",
    )),
    *(b'["' + text + b'"]' for text in (
        b"\x00", b"\x01", b"\n", b"\t", b"\r", b"\x1f", b"\\", b"\\a", b"\\x00", b"\\0", b"\\'", b"\\u",
        b"\\u1", b"\\u12", b"\\u123", b"\\u12g4", b"\\U1234", b"\\u{1}", b"\\u 123", b"\\ ", b"\\\n",
        b"\xff", b"\xfe\xff", b"\xc3", b"\xc3(", b"\xc0\x80", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
        b"\xf0\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"a\xe9", b"\\u00\xc3\xa9",
    )),
    b"['a']", b'["a', b'["a\']', b"[a]", b'[\\"a"]', b'["\\"]', b"[\\n]", b'["a" "b"]', b'["a":1]',
    b"[1", b"[", b"{", b'{"a', b'{"a"', b'{"a":', b'{"a":1', b'{"a":[', b"]", b"}", b":", b",", b'"',
    b"[}", b"{]", b"[[]", b"[]]", b'{"a":[}', b"<a/>", b"a=1", b"--\n", b"%YAML", b"(1)", b"*", b"&a",
    b"\xef\xbb\xbf{}", b"\xef\xbb\xbf", b"\xff\xfe{\x00}\x00", b"\xfe\xff\x00{\x00}", b"{}\xef\xbb\xbf",
    b"\xc2\xa0{}", b"\xe2\x80\xa8{}", b"\x0c{}", b"\x0b[]", b"\xe2\x81\xa0[]", b"{}\x1a", b"\x00{}",
    b"[" * 10_000, b'{"":' * 10_000, b"[" * 500 + b"]" * 499, b'["\\uD800\\u"]', b"// x\n{}", b"/**/{}",
    b"{} // x", b"# x\n{}", b";{}", b"{};", b")]}',\n{}", b"while(1);{}", b"callback({})",
]  # fmt: skip

JSON: list[bytes] = [
    *_VALUES,
    *(b" \t\r\n" + value + b"\n \r\t" for value in _VALUES),
    *(b"[" + value + b"]" for value in _VALUES),
    *(b'{"a":' + value + b"}" for value in _VALUES),
    *(b"[" + number + b"]" for number in (
        b"0", b"-0", b"-1", b"1.5", b"-1.5", b"1e1", b"1E1", b"1e+1", b"1E-1", b"0e1", b"0.0", b"-0.0",
        b"1e-400", b"0.1e400", b"12345678901234567890", b"-9223372036854775809", b"1.00000000000000000001",
        b"123.456e78", b"0e+1", b"20e1", b"1.000000000000000005",
    )),
    *(b'["' + text + b'"]' for text in (
        b"", b" ", b'\\"', b"\\\\", b"\\/", b"\\b\\f\\n\\r\\t", b"\\u0061", b"\\u00e9", b"\\uD83D\\uDE00",
        b"\\u2028\\u2029", b"\\uFFFF", b"\\uFEFF", b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80",
        b"\xe2\x80\xa8", b"\x7f", b"\xef\xbf\xbf", b"/", b"/* x */", b"\\\\u0000", b"\xf4\x8f\xbf\xbf", b"'",
    )),
    b'[[],{},[[]],{"a":{}}]', b'{"":0}', b'{"a":[]}', b'{"a":1,"b":[1,{"c":null}]}', b'[1,"a",null]',
    b"[" * 31 + b"]" * 31, b'{"a b":1}', b'{"\\u0061":1}', b'{"\xc3\xa9":1}', b"[ 1 , 2 ]", b"[[[]   ]]",
    b'{"a":"\\u0022"}', b'{ "min": -1.0e+28, "max": 1.0e+28 }', b'{"x":[{"id":1}],"y":"z"}',
]  # fmt: skip
