"""The ASGI application."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from docvault.api import admin, customer, direct_uploads, health, integration, signed_content
from docvault.api.http.error_handlers import install_error_handlers
from docvault.api.http.middleware import RequestMiddleware
from docvault.api.openapi.docs_ui import install_docs
from docvault.observability.tracing import OFF
from docvault.services.resources import Resources

OpenResources = Callable[[], AbstractAsyncContextManager[Resources]]


def create_app(
    open_resources: OpenResources | None = None,
    *,
    prefix: str = "",
    telemetry: TelemetryConfig = OFF,
) -> FastAPI:
    """Return the application.

    `open_resources` opens what requests need while the server runs; without it the caller sets
    `app.state.resources` itself, as tests and `docvault openapi` do. `prefix` is the path below
    which clients reach the service.
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
    app.add_middleware(RequestMiddleware, prefix=prefix)
    install_error_handlers(app)
    for router in (*customer.ROUTERS, *integration.ROUTERS, *admin.ROUTERS):
        # Faster than include_router: FastAPI would match each router first, then its routes again.
        app.router.routes.extend(router.routes)
    app.include_router(health.router, tags=["operations"])
    app.include_router(direct_uploads.router, tags=["operations"])
    app.include_router(signed_content.router, tags=["operations"])
    install_docs(app, prefix)
    return app
