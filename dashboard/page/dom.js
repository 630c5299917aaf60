// Small helpers to build and change what is shown. Text is only ever set as text.

/** el makes an element with attributes, and children that are nodes or text. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** svg makes an element of a picture. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** icon shows one of the symbols of the page. */
export function icon(name, cls) {
  return svg("svg", { class: cls, "aria-hidden": "true" }, svg("use", { href: `#${name}` }));
}

/** setText changes a node's text if it is another. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** setAttr changes an attribute if it is another. */
export function setAttr(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/**
 * offer has the buttons in a node be these, each [what, word, about], which call
 * act(what). What they are about is for those who do not see where they are. If the one
 * that has the focus goes, the first one gets it.
 */
export function offer(node, buttons, act) {
  const had = node.contains(document.activeElement);
  const known = new Map([...node.children].map((b) => [b.dataset.do, b]));
  const make = (what, word, about) => el("button", { type: "button", "data-do": what, onclick: () => act(what) }, word, el("span", { class: "hidden" }, ` ${about}`));
  arrange(node, buttons.map(([what, ...words]) => known.get(what) ?? make(what, ...words)));
  if (had && !node.contains(document.activeElement)) node.querySelector("button")?.focus();
}

/**
 * arrange has the children of a node be these, in this order, moving no more than it
 * must. What has the focus keeps it.
 */
export function arrange(parent, children) {
  const focused = document.activeElement;
  let at = parent.firstChild;
  for (const child of children) {
    if (child === at) at = at.nextSibling;
    else parent.insertBefore(child, at);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
  if (document.activeElement !== focused && parent.contains(focused)) focused.focus({ preventScroll: true });
}
