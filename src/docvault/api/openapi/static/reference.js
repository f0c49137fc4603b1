SwaggerUIBundle({
  urls: [
    { name: "admin", url: "v1/admin/openapi.json" },
    { name: "customer", url: "v1/customer/openapi.json" },
    { name: "integration", url: "v1/integration/openapi.json" },
  ],
  dom_id: "#reference",
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
  layout: "StandaloneLayout",
  validatorUrl: null,
});
