"use strict";
// What the scripts of all pages share. A string is only ever shown as text: no part makes markup from a string.

const read = (id) => {
  const block = document.getElementById(id);
  return block ? JSON.parse(block.textContent) : null;
};
const $ = (id) => document.getElementById(id);

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (name === "css") for (const [property, v] of Object.entries(value)) element.style.setProperty(property, v);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(3)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}
const h = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

/** Draw a part of the page anew, and give the keyboard back to the button or field that had it. */
function keepFocus(box, draw) {
  const name = (element) => element.id || (Object.keys(element.dataset).length ? JSON.stringify(element.dataset) : element.textContent);
  const held = box.contains(document.activeElement) && document.activeElement !== box ? document.activeElement : null;
  draw();
  const again = held ? [...box.querySelectorAll(held.tagName)].find((element) => name(element) === name(held)) : null;
  if (again) again.focus({ preventScroll: true });
}

const many = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

// Plasma, from dark blue to light yellow: it can be read with any colour vision, and in grey.
const STOPS = [[13, 8, 135], [126, 3, 168], [204, 71, 120], [248, 149, 64], [240, 249, 33]];
function colour(share) {
  const x = Math.max(0, Math.min(1, share)) * (STOPS.length - 1), i = Math.min(STOPS.length - 2, Math.floor(x));
  const mix = STOPS[i].map((v, c) => Math.round(v + (x - i) * (STOPS[i + 1][c] - v)));
  return `rgb(${mix.join(",")})`;
}
