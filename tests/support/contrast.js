// The texts of a page whose contrast with what lies behind them is too low, each with its ratio.
(() => {
  const LEAST = 4.5, LEAST_LARGE = 3; // of WCAG 2.1, level AA
  const colour = (text) => {
    const [red, green, blue, alpha = 1] = (text.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
    const scale = text.startsWith("color(") ? 255 : 1; // color(srgb 1 1 1) is rgb(255, 255, 255)
    return { parts: [red, green, blue].map((part) => scale * part), alpha };
  };
  const blend = (front, back) =>
    front.parts.map((part, k) => front.alpha * part + (1 - front.alpha) * back[k]);
  const luminance = (parts) => {
    const [r, g, b] = parts.map((part) => {
      const share = part / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const isSeen = (element) => {
    const box = element.getBoundingClientRect();
    return element.checkVisibility({ visibilityProperty: true }) && box.width > 1 && box.height > 1;
  };
  const found = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const words = texts.currentNode.data.trim();
    if (!words || !isSeen(element) || element.closest("script, style, noscript")) continue;
    const style = getComputedStyle(element);
    const layers = [];
    let opacity = 1;
    for (let place = element; place; place = place.parentElement) {
      opacity *= Number(getComputedStyle(place).opacity);
      layers.push(colour(getComputedStyle(place).backgroundColor));
    }
    const back = layers.reduceRight((below, layer) => blend(layer, below), [255, 255, 255]);
    const ink = colour(element.ownerSVGElement ? style.fill : style.color);
    const front = blend({ ...ink, alpha: ink.alpha * opacity }, back);
    const [dark, light] = [luminance(front), luminance(back)].sort((a, b) => a - b);
    const ratio = (light + 0.05) / (dark + 0.05);
    const least = parseFloat(style.fontSize) >= 24 ? LEAST_LARGE : LEAST;
    if (ratio < least) found.add(`${ratio.toFixed(2)}: ${words.slice(0, 40)}`);
  }
  return [...found];
})();
