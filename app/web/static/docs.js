"use strict";

const page = document.getElementById("docs");
// For this tab alone: the browser forgets the key when the tab is closed.
const KEPT = "clarion.api-key";

const ui = SwaggerUIBundle({
  dom_id: "#docs",
  url: page.dataset.document,
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
  requestInterceptor: (request) => {
    const key = request.headers["X-API-Key"];
    if (key) {
      sessionStorage.setItem(KEPT, key);
    }
    return request;
  },
  onComplete: () => {
    const key = sessionStorage.getItem(KEPT);
    if (key) {
      ui.preauthorizeApiKey("ApiKey", key);
    }
  },
});
