// What is there, drawn into the page. Text is only ever text: nothing that a server says becomes markup.

import { decimalsOf, rateDecimals, text, time, until } from "./units.js";

const SVG = "http://www.w3.org/2000/svg";

export function make(tag, members = {}, ...inner) {
  const found = document.createElement(tag);
  Object.assign(found, members);
  found.append(...inner);
  return found;
}

function rect(x, width, name) {
  const found = document.createElementNS(SVG, "rect");
  for (const [key, value] of Object.entries({ x: `${x}%`, width: `${width}%`, height: "100%", class: name })) found.setAttribute(key, value);
  return found;
}

function bar(name, parts) {
  const found = document.createElementNS(SVG, "svg");
  found.setAttribute("class", name);
  found.setAttribute("aria-hidden", "true");
  found.append(...parts);
  return found;
}

const PARTS = [
  ["available", "available", (row) => row.available],
  ["locked", "in orders", (row) => row.locked],
  ["in_swap", "in swaps", (row) => row.in_swap],
  ["bonded", "in bonds", (row) => row.bonded],
  ["other", "on the way or elsewhere", (row) => row.unconfirmed + row.immature + row.outside],
];

export function balances(rows) {
  return rows.map((row) => {
    const decimals = decimalsOf(row.factor);
    const parts = PARTS.map(([name, title, part]) => [name, title, part(row)]).filter(([name, , atoms]) => atoms || name === "available");
    let x = 0;
    const rects = parts.filter(([, , atoms]) => atoms).map(([name, , atoms]) => {
      const width = (100 * atoms) / row.total;
      x += width;
      return rect(x - width, width, name);
    });
    const list = make("dl", { className: "parts" });
    for (const [name, title, atoms] of parts) list.append(make("dt", { className: name }, title), make("dd", {}, text(atoms, decimals)));
    const total = make("p", { className: "total number" }, text(row.total, decimals), " ", make("small", {}, row.asset.toUpperCase()));
    return make("article", { className: "card balance" }, total, bar("stack", rects), list);
  });
}

export function book(market, told, choose) {
  const base = decimalsOf(market.base_factor), rates = rateDecimals(market);
  const most = Math.max(1, ...[...told.buys, ...told.sells].map((row) => row.quantity));
  const side = (name, rows) => make("div", { className: name }, ...rows.map((row) => {
    const rate = text(row.rate, rates);
    const width = (100 * row.quantity) / most;
    const quantity = make("span", { className: "quantity" }, text(row.quantity, base));
    const own = make("span", { className: "own" }, row.own ? "●" : "");
    if (row.own) own.title = "Yours";
    const found = make("button", { type: "button", onclick: () => choose(rate) }, bar("", [rect(100 - width, width, "")]));
    found.append(quantity, make("span", { className: "rate" }, rate), own);
    found.setAttribute("aria-label", `${name === "sells" ? "sell" : "buy"} ${quantity.textContent} at ${rate}${row.own ? ", yours" : ""}`);
    return found;
  }));
  const gap = told.buys.length && told.sells.length ? `gap ${text(told.sells[0].rate - told.buys[0].rate, rates)}` : "";
  const last = market.last_rate ? `last ${text(market.last_rate, rates)}` : "";
  const empty = told.buys.length + told.sells.length ? "" : "The book is empty.";
  const middle = make("p", { className: "middle" }, [empty, last, gap].filter(Boolean).join(" · "));
  const head = make("p", { className: "head" }, make("span", {}, "Quantity"), make("span", {}, "Rate"), make("span"));
  return [head, side("sells", [...told.sells].reverse()), middle, side("buys", told.buys)];
}

function table(columns, rows, empty) {
  if (!rows.length) return [make("p", { className: "soft" }, empty)];
  const head = make("tr", {}, ...columns.map(([title, kind]) => make("th", { className: kind || "", scope: "col" }, title)));
  const body = rows.map((cells) => make("tr", {}, ...cells.map((cell, place) => {
    const kind = columns[place][1] || "";
    const found = make("td", { className: cell instanceof Node ? "act" : kind === "side" ? cell : kind }, cell);
    found.dataset.title = columns[place][0];
    return found;
  })));
  return [make("table", {}, make("thead", {}, head), make("tbody", {}, ...body))];
}

const byName = (markets, row) => markets.find((market) => market.name === row.market && market.host === row.host);

function amount(markets, row, atoms) {
  const market = byName(markets, row);
  if (!market || !row.side) return "";
  const spends = row.type === "market" && row.side === "buy";
  return text(atoms, decimalsOf(spends ? market.quote_factor : market.base_factor));
}

const rate = (markets, row) => (byName(markets, row) && row.rate ? text(row.rate, rateDecimals(byName(markets, row))) : "");

export function orders(markets, rows, cancel) {
  const open = ["sent", "epoch", "booked"];
  const shown = rows.filter((row) => row.type !== "cancel").reverse();
  shown.sort((a, b) => open.includes(b.status) - open.includes(a.status));
  const cells = shown.slice(0, 50).map((row) => {
    const stands = row.type === "limit" && row.status === "booked";
    const button = stands ? make("button", { type: "button", onclick: () => cancel(row) }, "Cancel") : "";
    if (stands) button.setAttribute("aria-label", `Cancel ${row.side} ${amount(markets, row, row.quantity)} ${row.market}`);
    return [row.market, row.side, amount(markets, row, row.quantity), rate(markets, row), amount(markets, row, row.filled), row.status, time(row.time), button];
  });
  const columns = [["Market"], ["Side", "side"], ["Quantity", "number"], ["Rate", "number"], ["Filled", "number"], ["Status"], ["Placed", "soft"], [""]];
  return table(columns, cells, "No orders yet.");
}

const WORDS = {
  newly_matched: "matched", maker_swap_cast: "maker's contract is out", taker_swap_cast: "both contracts are out",
  maker_redeemed: "maker has redeemed", match_complete: "redeemed", match_confirmed: "settled",
};

export function swaps(markets, rows) {
  const shown = [...rows].reverse();
  shown.sort((a, b) => !b.outcome - !a.outcome);
  const cells = shown.slice(0, 50).map((row) => {
    const market = byName(markets, row);
    const quantity = market ? text(row.quantity, decimalsOf(market.base_factor)) : "";
    const safe = row.outcome ? "" : row.safe_until === null ? "any time" : until(row.safe_until) || "do not close now";
    return [row.match_id.slice(0, 12), row.market, row.role, quantity, rate(markets, row), row.outcome || WORDS[row.status] || row.status, safe, time(row.time)];
  });
  const columns = [["Match", "soft"], ["Market"], ["Role"], ["Quantity", "number"], ["Rate", "number"], ["State"], ["Safe to close until"], ["Matched", "soft"]];
  return table(columns, cells, "No swaps yet.");
}

export function estimate(market, told) {
  const of = (symbol) => decimalsOf(symbol === market.base ? market.base_factor : market.quote_factor);
  const pays = (atoms) => `${text(atoms, of(told.pays))} ${told.pays.toUpperCase()}`;
  const gets = (atoms) => `${text(atoms, of(told.gets))} ${told.gets.toUpperCase()}`;
  const rows = [["You give at most", pays(told.worst.gives)], ["You get at least", gets(told.worst.gets)], ["Locked meanwhile", pays(told.locked)]];
  if (told.missing) rows.push(["Missing", pays(told.missing)]);
  return rows.flatMap(([title, value]) => [make("dt", {}, title), make("dd", {}, value)]);
}
