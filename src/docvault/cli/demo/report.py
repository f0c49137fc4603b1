"""Say what the demo contains and how to look around."""

import typer

from docvault.cli.demo.content import CUSTOMERS
from docvault.cli.demo.fill import fill_service
from docvault.cli.tokens import open_issuer

_LOGGED_IN = CUSTOMERS[1].id


def print_demo(url: str) -> None:
    """Fill the service and print its customers and two tokens."""
    issuer = open_issuer()
    customers = fill_service(url, issuer)
    width = max(len(customer.id) for customer in customers)
    typer.echo("Customers and their gates:")
    for customer in customers:
        typer.echo(f"  {customer.id:<{width}}  {customer.gate:<7}  {customer.name}")
    typer.echo(f"\nReference, to try every endpoint: {url}/docs")
    typer.echo(f"\nToken for staff:\n{issuer.admin_token('admin')}")
    typer.echo(f"\nToken for the customer {_LOGGED_IN}:\n{issuer.customer_token(_LOGGED_IN)}")
