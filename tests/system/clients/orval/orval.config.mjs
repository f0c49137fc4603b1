const contracts = process.env.DOCVAULT_CONTRACTS;
const audiences = ["admin", "customer", "integration"];

export default Object.fromEntries(
  audiences.map((audience) => [
    audience,
    {
      input: `${contracts}/${audience}.json`,
      // Without the last option it puts path parameters into the URL as they are.
      output: { target: `generated/${audience}.ts`, client: "fetch", urlEncodeParameters: true },
    },
  ]),
);
