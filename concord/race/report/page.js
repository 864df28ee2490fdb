// Draws each picture when it comes into view, in the page's own ink, and anew when that changes.
(function () {
  "use strict";
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const pictures = [...document.querySelectorAll("[data-figure]")];
  const drawn = new Set();
  const coarse = matchMedia("(pointer: coarse)").matches;
  const config = { responsive: true, displayModeBar: false, showSendToCloud: false };

  function inked(value, style) {
    if (typeof value === "string") {
      const name = /^var\((--[a-z]+)\)$/.exec(value);
      return name ? style.getPropertyValue(name[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((one) => inked(one, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, inked(one, style)]));
    }
    return value;
  }

  function draw(picture, width) {
    const style = getComputedStyle(document.documentElement);
    const figure = inked(figures[Number(picture.dataset.figure)], style);
    // A finger scrolls the page; a mouse may zoom.
    if (coarse) figure.layout.dragmode = false;
    if (width) figure.layout.width = width;
    figure.layout.hoverlabel = {
      ...figure.layout.hoverlabel,
      bgcolor: style.getPropertyValue("--panel").trim(),
      font: { color: style.getPropertyValue("--ink").trim() },
    };
    drawn.add(picture);
    Plotly.react(picture, figure.data, figure.layout, config);
  }

  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting && !drawn.has(entry.target)) draw(entry.target);
      }
    },
    { rootMargin: "400px" },
  );
  pictures.forEach((picture) => near.observe(picture));

  const redraw = () => drawn.forEach((picture) => draw(picture));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((details) => { details.open = true; });
    pictures.forEach((picture) => draw(picture, 680));
  });
  addEventListener("afterprint", () => {
    opened.forEach((details) => { details.open = false; });
    redraw();
  });
})();
