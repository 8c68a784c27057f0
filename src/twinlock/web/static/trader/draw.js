// What is there, drawn into the page. Text is only ever text: nothing that a server says becomes markup.

import { decimalsOf, digits, rateDecimals, text, time, until } from "./units.js";

const SVG = "http://www.w3.org/2000/svg";

export function make(tag, members = {}, ...inner) {
  const found = document.createElement(tag);
  Object.assign(found, members);
  found.append(...inner);
  return found;
}

export function rect(x, width, name) {
  const found = document.createElementNS(SVG, "rect");
  for (const [key, value] of Object.entries({ x: `${x}%`, width: `${width}%`, height: "100%", class: name })) found.setAttribute(key, value);
  return found;
}

export function bar(name, parts) {
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
    const doubt = row.scanned ? "" : make("p", { className: "doubt", role: "status" }, "Still looking at the chain: something may be missing.");
    return make("article", { className: "card balance" }, total, doubt, bar("stack", rects), list);
  });
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

export function venues(rows) {
  return rows.map((row) => {
    const how = !row.connected ? "not connected" : row.account_id ? `tier ${row.tier}` : "no account";
    return make("li", { className: row.connected ? (row.tier > 0 ? "good" : "idle") : "bad" }, row.host, make("span", { className: "soft" }, how));
  });
}

/** What is to be said about the servers above all else; empty if all is well. */
export function worry(venues) {
  const away = venues.filter((row) => !row.connected).map((row) => row.host);
  if (away.length) return [`${away.join(", ")}: not connected.`, "It is tried again and again. Swaps go on without it; orders wait."];
  const without = venues.filter((row) => !(row.tier > 0)).map((row) => row.host);
  if (without.length) return [`${without.join(", ")}: no bond counts there yet, so nothing can be ordered.`, "Post one: twinlock client bond post COIN."];
  return ["", ""];
}

const byName = (markets, row) => markets.find((market) => market.name === row.market && market.host === row.host);

function amount(markets, row, atoms) {
  const market = byName(markets, row);
  if (!market || !row.side) return "";
  const spends = row.type === "market" && row.side === "buy";
  if (spends) return `${text(atoms, decimalsOf(market.quote_factor))} ${market.quote.toUpperCase()}`;
  return text(atoms, decimalsOf(market.base_factor), digits(market.lot_size, decimalsOf(market.base_factor)));
}

function rate(markets, row, atoms = row.rate) {
  const market = byName(markets, row);
  return market && atoms ? text(atoms, rateDecimals(market), digits(market.rate_step, rateDecimals(market))) : "";
}

/** Where is there more than one server? Then everything says at which it is. */
export const several = (markets) => new Set(markets.map((market) => market.host)).size > 1;

const pair = (markets, row) => row.market.toUpperCase().replace("_", "/") + (several(markets) ? ` at ${row.host}` : "");

function action(title, label, work) {
  const button = make("button", { type: "button", onclick: work }, title);
  button.setAttribute("aria-label", label);
  return button;
}

/** The status, and of an order that took part in nothing, why. */
function ended(row) {
  if (row.status === "executed" && !row.filled) return row.post_only ? "ended: it would have taken" : "ended: nothing matched";
  return row.status === "revoked" && row.expiry && row.expiry <= Date.now() ? "expired" : row.status;
}

export function orders(markets, rows, cancel) {
  const open = ["sent", "epoch", "booked"];
  const shown = rows.filter((row) => row.type !== "cancel").reverse();
  shown.sort((a, b) => open.includes(b.status) - open.includes(a.status));
  const cells = shown.map((row) => {
    const stands = row.type === "limit" && row.status === "booked";
    const label = `Cancel ${row.side} ${amount(markets, row, row.quantity)} ${row.market}`;
    const button = stands ? action("Cancel", label, () => cancel(row)) : "";
    return [pair(markets, row), row.side, amount(markets, row, row.quantity), rate(markets, row), amount(markets, row, row.filled), ended(row), time(row.time), button];
  });
  const columns = [["Market"], ["Side", "side"], ["Quantity", "number"], ["Rate", "number"], ["Filled", "number"], ["Status"], ["Placed", "soft"], [""]];
  return table(columns, cells, "No orders yet.");
}

export function conditions(markets, rows, cancel) {
  const cells = rows.map((row) => {
    const resting = row.rest_rate ? `, or at ${rate(markets, row, row.rest_rate)}` : "";
    const wait = `${row.side === "sell" ? "falls" : "rises"} to ${rate(markets, row, row.stop)}`;
    const button = action("Give up", `Give up ${row.name}`, () => cancel(row));
    return [pair(markets, row), row.side, amount(markets, { ...row, type: "limit" }, row.quantity), wait, rate(markets, row) + resting, button];
  });
  const columns = [["Market"], ["Side", "side"], ["Quantity", "number"], ["Once the price"], ["Order at", "number"], [""]];
  return cells.length ? [make("h3", {}, "Waiting for a price"), ...table(columns, cells, "")] : [];
}

const WORDS = {
  newly_matched: "matched", maker_swap_cast: "maker's contract is out", taker_swap_cast: "both contracts are out",
  maker_redeemed: "maker has redeemed", match_complete: "redeemed", match_confirmed: "settled",
};

export function swaps(markets, rows) {
  const shown = [...rows].reverse();
  shown.sort((a, b) => !b.outcome - !a.outcome);
  const cells = shown.map((row) => {
    const market = byName(markets, row);
    const quantity = market ? amount(markets, { ...row, side: "-" }, row.quantity) : "";
    const safe = row.outcome ? "" : row.safe_until === null ? "any time" : until(row.safe_until) || "do not close now";
    return [row.match_id.slice(0, 12), pair(markets, row), row.role, quantity, rate(markets, row), row.outcome || WORDS[row.status] || row.status, safe, time(row.time)];
  });
  const columns = [["Match", "soft"], ["Market"], ["Role"], ["Quantity", "number"], ["Rate", "number"], ["State"], ["Safe to close until"], ["Matched", "soft"]];
  return table(columns, cells, "No swaps yet.");
}
