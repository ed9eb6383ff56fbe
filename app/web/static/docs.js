"use strict";

const page = document.getElementById("docs");

SwaggerUIBundle({
  dom_id: "#docs",
  url: page.dataset.document,
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
});
