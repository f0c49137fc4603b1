const contracts = process.env.DOCVAULT_CONTRACTS;

export default ["admin", "customer", "integration"].map((audience) => ({
  input: `${contracts}/${audience}.json`,
  output: `clients/hey-api/generated/${audience}`,
}));
