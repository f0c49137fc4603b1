"""Only loads the fixtures."""

pytest_plugins = [
    "tests.fixtures.corpus",
    "tests.fixtures.database",
    "tests.fixtures.generated_input",
    "tests.fixtures.storage",
    "tests.fixtures.s3_peers",
    "tests.fixtures.clamd",
    "tests.fixtures.commands",
    "tests.fixtures.callers",
    "tests.fixtures.client",
    "tests.fixtures.webhook_receiver",
    "tests.fixtures.server",
    "tests.fixtures.workshop",
    "tests.torture.deployments",
    "tests.torture.figures",
    "tests.torture.inside",
    "tests.torture.outages",
]
