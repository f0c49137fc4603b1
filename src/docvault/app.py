"""The application: routers, error handlers, start and stop."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from docvault.api import admin, customer, health, integration, signed_uploads
from docvault.api.error_handlers import install_error_handlers
from docvault.api.middleware import RequestMiddleware
from docvault.api.reference import install_reference
from docvault.services.resources import Resources
from docvault.tracing import OFF

OpenResources = Callable[[], AbstractAsyncContextManager[Resources]]


def create_app(
    open_resources: OpenResources | None = None, *, telemetry: TelemetryConfig = OFF
) -> FastAPI:
    """Return the application.

    `open_resources` opens what requests need while the server runs; without it the caller sets
    `app.state.resources` itself, as tests and the contract generator do.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if open_resources is None:
            yield
            return
        async with open_resources() as resources:
            app.state.resources = resources
            yield

    app = FastAPI(
        title="docvault",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=telemetry,
    )
    app.add_middleware(RequestMiddleware)
    install_error_handlers(app)
    for router in (*customer.ROUTERS, *integration.ROUTERS, *admin.ROUTERS):
        # Not included: FastAPI would ask each router, and the one that says yes a second time.
        app.router.routes.extend(router.routes)
    app.include_router(health.router, tags=["operations"])
    app.include_router(signed_uploads.router, tags=["operations"])
    install_reference(app)
    return app
