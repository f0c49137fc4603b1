SwaggerUIBundle({
  urls: [
    { name: "admin", url: "docs/static/admin.json" },
    { name: "customer", url: "docs/static/customer.json" },
    { name: "integration", url: "docs/static/integration.json" },
  ],
  dom_id: "#reference",
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
  layout: "StandaloneLayout",
  validatorUrl: null,
  deepLinking: true,
  // The token outlives a reload of the page.
  persistAuthorization: true,
  // Each operation shows its own schemas.
  defaultModelsExpandDepth: -1,
});
