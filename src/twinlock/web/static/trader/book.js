// The book by levels, best rates in the middle, and the last days' prices above it.

import { bar, make, rect } from "./draw.js";
import { decimalsOf, digits, rateDecimals, text } from "./units.js";

const LEVELS = 12;

/** Orders of one rate put together: [{rate, quantity, sum, own}], best first; `sum` counts from the best on. */
export function levels(rows) {
  const found = [];
  for (const row of rows) {
    if (found.at(-1)?.rate !== row.rate) found.push({ rate: row.rate, quantity: 0, sum: found.at(-1)?.sum || 0, own: false });
    const level = found.at(-1);
    level.quantity += row.quantity;
    level.sum += row.quantity;
    level.own ||= row.own;
  }
  return found;
}

export function book(market, told, choose) {
  const base = decimalsOf(market.base_factor), rates = rateDecimals(market);
  const lots = digits(market.lot_size, base), steps = digits(market.rate_step, rates);
  const sells = levels(told.sells), buys = levels(told.buys);
  const most = Math.max(1, ...[sells, buys].map((side) => side.slice(0, LEVELS).at(-1)?.sum || 0));
  const line = (name) => (level) => {
    const rate = text(level.rate, rates, steps), quantity = text(level.quantity, base, lots), width = (100 * level.sum) / most;
    const own = make("span", { className: "own", title: level.own ? "Yours" : "" }, level.own ? "●" : "");
    const found = make("button", { type: "button", onclick: () => choose(rate) }, bar("", [rect(100 - width, width, "")]));
    found.append(make("span", { className: "rate" }, rate), make("span", { className: "quantity" }, quantity),
      make("span", { className: "sum soft" }, text(level.sum, base, lots)), own);
    found.setAttribute("aria-label", `${name === "sells" ? "sell" : "buy"} ${quantity} at ${rate}${level.own ? ", yours" : ""}`);
    return found;
  };
  const side = (name, rows) => make("div", { className: name }, ...rows.map(line(name)));
  const more = (rows) => make("p", { className: "more" }, rows.length > LEVELS ? `${rows.length - LEVELS} more` : "");
  const gap = buys.length && sells.length ? `gap ${text(sells[0].rate - buys[0].rate, rates)}` : "";
  const last = market.last_rate ? `last ${text(market.last_rate, rates, steps)}` : "";
  const empty = buys.length + sells.length ? "" : "The book is empty.";
  const middle = make("p", { className: "middle" }, [empty, last, gap].filter(Boolean).join(" · "));
  const head = make("p", { className: "head" }, ...["Rate", "Quantity", "Sum", ""].map((title) => make("span", {}, title)));
  return [head, more(sells), side("sells", sells.slice(0, LEVELS).reverse()), middle, side("buys", buys.slice(0, LEVELS)), more(buys)];
}

// Prices --------------------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg", WIDTH = 600, HEIGHT = 120, ENOUGH = 3; // fewer candles than that show nothing that the legend does not

function shape(name, members) {
  const found = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(members)) found.setAttribute(key, value);
  return found;
}

/** Candles as the market's server tells them; nothing where nobody traded. */
export function chart(market, candles) {
  const traded = candles.filter((candle) => candle.volume);
  if (!traded.length) return [];
  const low = Math.min(...traded.map((candle) => candle.low_rate)), high = Math.max(...traded.map((candle) => candle.high_rate));
  const from = traded[0].start, span = Math.max(1, traded.at(-1).end - from), room = Math.max(1, high - low);
  const x = (ms) => (WIDTH * (ms - from)) / span, y = (rate) => 4 + ((HEIGHT - 8) * (high - rate)) / room;
  const drawing = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "chart", role: "img" });
  const write = (rate) => text(rate, rateDecimals(market), digits(market.rate_step, rateDecimals(market)));
  const told = `Prices from ${write(low)} to ${write(high)}, the last ${write(traded.at(-1).end_rate)}`;
  drawing.setAttribute("aria-label", told);
  for (const candle of traded) {
    const width = Math.min(24, Math.max(2, x(candle.end) - x(candle.start) - 2)), middle = x(candle.start) + width / 2;
    const top = y(Math.max(candle.start_rate, candle.end_rate)), foot = y(Math.min(candle.start_rate, candle.end_rate));
    const kind = candle.end_rate < candle.start_rate ? "down" : "up";
    drawing.append(shape("line", { x1: middle, x2: middle, y1: y(candle.high_rate), y2: y(candle.low_rate), class: kind }));
    drawing.append(shape("rect", { x: middle - width / 2, width, y: top, height: Math.max(1.5, foot - top), class: kind }));
  }
  const since = new Date(from).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
  const legend = make("p", { className: "legend" }, make("span", {}, `since ${since}`), make("span", {}, `low ${write(low)} · high ${write(high)}`));
  return traded.length < ENOUGH ? [legend] : [drawing, legend];
}
