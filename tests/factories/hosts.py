"""Hosts, URLs and addresses that webhooks must not reach (F24)."""

# Addresses that one could write as a host, and names that are none.
HOSTS = [
    *("127.0.0.1", "127.1", "127.0.1", "2130706433", "017700000001", "0177.0.0.1", "0177.1"),
    *("0x7f000001", "0x7f.1", "0x7f.0.0.1", "0X7F.0x0.0x0.0x1", "127.0.0.0x1", "00127.0.0.1"),
    *("0", "0.0.0.0", "1", "1.1.1.1", "8.8.8.8", "169.254.169.254", "2852039166", "0xa9fea9fe"),
    *("10.0.0.1", "192.168.0.1", "172.16.0.1", "100.64.0.1", "255.255.255.255", "224.0.0.1"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[fe80::1]"),
    *("[fe80::1%25eth0]", "[fe80::1%eth0]", "[fd00::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
    *("[2606:4700::1111]", "[fec0::1]", "[ff02::1]", "[v1.x]", "[", "[]", "::1", "[::1", "::1]"),
    *("①②⑦.⓪.⓪.①", "１２７.０.０.１", "१२७.०.०.१", "127。0。0。1", "exam\u00adple.org"),
    *("bücher.example", "hooKs.example.org".replace("K", "\u212a"), "hook\u017f.example.org"),
    *("localhost", "localhost.", "LOCALHOST", "hooks", "example.org.", "example.org..", ".org"),
    *("a..example.org", "-a.example.org", "a-.example.org", "example.1", "example.0x1", "*.org"),
    *("example.org%00", "example.org%2e", "127.0.0.1%2f", "%3127.0.0.1", "exam ple.org", ""),
    *("a" * 64 + ".org", ".".join(["a" * 62] * 4) + ".org"),
]
URLS = [
    *("http://example.org/", "ftp://example.org/", "file:///etc/passwd", "gopher://example.org/"),
    *("https:/example.org/", "https:example.org", "//example.org/", "example.org", "https://", ""),
    *("https://user@example.org/", "https://user:pass@example.org/", "https://@example.org/"),
    *("https://example.org@127.0.0.1/", "https://127.0.0.1#@example.org/", "https://a\\@b.org/"),
    *("https://example.org\\@127.0.0.1/", "https://example.org:443@127.0.0.1/"),
    *("https://example.org:80/", "https://example.org:8443/", "https://example.org:22/"),
    *("https://example.org:/", "https://example.org:0443/", "https://example.org:0/"),
    *("https://example.org:65979/", "https://example.org:-1/", "https://example.org:４４３/"),
    *("https://example.org:443:80/", "https://example.org/#fragment", "https://example.org/\\"),
    *("https://example.org/\r\nHost: x", "https://example.org/ x", "https://example.org/\t"),
    *("https://example.org/é", "https://example.org/\x00", "https://example.org/\n"),
    *(" https://example.org/", "https://example.org/ ", "https://exam\tple.org/", "https://\u2028"),
]

# Every kind of address that is not one interface of the public internet.
NOT_PUBLIC = [
    *("0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "100.127.255.254", "127.0.0.1"),
    *("127.255.255.254", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.254"),
    *("192.0.0.1", "192.0.0.170", "192.0.0.9", "192.0.0.200", "192.0.2.1", "192.88.99.1"),
    *("192.168.1.1", "198.18.0.1", "198.19.255.254", "198.51.100.1", "203.0.113.1", "224.0.0.1"),
    *("239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::2", "::127.0.0.1", "::7f00:1", "::8.8.8.8", "::ffff:127.0.0.1"),
    *("::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1"),
    *("64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::127.0.0.1", "64:ff9b:1::8.8.8.8"),
    *("100::1", "2001::1", "2001:0:7f00:1::1", "2001:10::1", "2001:20::1", "2001:db8::1"),
    *("2002:7f00:1::1", "2002:a00:1::", "2002:808:808::1", "3fff::1", "4000::1", "5f00::1"),
    *("fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1"),
]
