"use strict";

// What stands in a field as the API takes it; undefined where nothing does.
function valueOf(field) {
  const text = field.value.trim();
  if (!text) return undefined;
  const kind = field.dataset.kind;
  if (kind === "integer" || kind === "number") return Number(text);
  if (kind === "lines") return text.split("\n").map(line => line.trim()).filter(Boolean);
  return kind === "json" ? JSON.parse(text) : text;
}

function submitPage() {
  const form = byId("submit"), button = form.querySelector("button.main");
  const fields = [...form.elements].filter(field => field.dataset.kind);

  function clear() {
    say("");
    for (const field of fields) {
      field.removeAttribute("aria-invalid");
      byId(`${field.name}-error`).textContent = "";
    }
  }

  function refuse(message, name) {
    const field = fields.find(each => each.name === name);
    if (!field) return say(message);
    byId(`${name}-error`).textContent = message;
    field.setAttribute("aria-invalid", "true");
    const details = field.closest("details");
    if (details) details.open = true;
    field.focus();
  }

  function options() {
    const body = {};
    for (const field of fields) {
      try {
        const value = valueOf(field);
        if (value !== undefined) body[field.name] = value;
      } catch (error) {
        throw Object.assign(new Error(`this is no JSON: ${error.message}`), { field: field.name });
      }
    }
    return body;
  }

  form.addEventListener("submit", async event => {
    event.preventDefault();
    clear();
    button.disabled = true;
    try {
      const study = await ask("/studies", { method: "POST", body: JSON.stringify(options()) });
      location.assign(`/studies/${segment(study.name)}`);
    } catch (error) {
      refuse(error.message, error.field);
    } finally { button.disabled = false; }
  });
  enable(form);
}

submitPage();
