// Draws the charts in the colours of the page, again when these change, and narrow and light on paper.
"use strict";
(() => {
  const { dark, figures } = JSON.parse(document.getElementById("charts").textContent);
  const scheme = window.matchMedia("(prefers-color-scheme: dark)");
  const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

  const painted = (value, key) => {
    if (typeof value === "string") return /color$/.test(key) && value in dark ? dark[value] : value;
    if (Array.isArray(value)) return value.map((one) => painted(one, key));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, painted(one, name)]));
  };

  const draw = (isDark, isPaper) => {
    for (const [name, figure] of Object.entries(figures)) {
      const { data, layout } = isDark ? painted(figure, "") : structuredClone(figure);
      const ground = isDark ? "#1a2028" : "#ffffff";
      layout.hoverlabel = { bgcolor: ground, bordercolor: layout.font.color, font: { color: layout.font.color } };
      layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: "#8a94a0", activecolor: layout.font.color };
      const { clientWidth: width, clientHeight: height } = document.getElementById(name);
      Plotly.react(name, data, isPaper ? { ...layout, width, height } : layout, config);
    }
  };

  const onPaper = (isPaper) => {
    document.documentElement.classList.toggle("paper", isPaper);
    draw(scheme.matches && !isPaper, isPaper);
  };

  draw(scheme.matches, false);
  scheme.addEventListener("change", () => draw(scheme.matches, false));
  window.addEventListener("beforeprint", () => onPaper(true));
  window.addEventListener("afterprint", () => onPaper(false));
})();
