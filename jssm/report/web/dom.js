const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes (functions become listeners) and children; null ones are left out. */
export function element(tag, attributes = {}, ...children) {
  return furnished(document.createElement(tag), attributes, children);
}

/** The same of a drawing. */
export function drawn(tag, attributes = {}, ...children) {
  return furnished(document.createElementNS(SVG, tag), attributes, children);
}

function furnished(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** A number with so many decimals and a true minus, a dash where it is unknown. */
export function told(value, decimals) {
  if (!Number.isFinite(value)) return "–";
  const text = value.toFixed(decimals);
  return text.replace(/^-(?=0(\.0+)?$)/, "").replace("-", "−");
}

/** The header of a page: its name and what it is, what to choose from, what to do. */
export function pageHeader(name, about, choices, actions) {
  const title = element("h1", {}, name);
  return element(
    "header",
    {},
    element("div", { class: "name" }, title, element("span", {}, about)),
    choices,
    element("div", { class: "actions" }, ...actions),
  );
}
