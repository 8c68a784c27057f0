"use strict";
// Everything is shown as text, never as markup; the browser adds the password to requests of this origin.

const $ = (id) => document.getElementById(id);

async function ask(path, body) {
  const posted = body === undefined ? {} : { method: "POST", body };
  const response = await fetch(`api/${path}`, { ...posted, cache: "no-store" });
  const answer = response.headers.get("content-type")?.startsWith("application/json") ? await response.json() : await response.text();
  if (!response.ok) throw new Error(answer.error ? `${answer.error}. ${answer.fix}` : answer);
  return answer;
}

const change = (path, body = "") => ask(path, body).then(refresh);

function say(text, good) {
  $("state").textContent = text;
  $("state").className = good ? "good" : "bad";
}

const guard = (work) => (event) => {
  event.preventDefault();
  Promise.resolve(work(event)).catch((error) => say(error.message, false));
};

function cell(content, kind = "") {
  const made = document.createElement("td");
  made.className = kind;
  made.append(...[content].flat());
  return made;
}

function row(...cells) {
  const made = document.createElement("tr");
  made.append(...cells);
  return made;
}

// On a narrow screen each cell stands on its own, below the head of its column.
function fill(id, rows) {
  const heads = [...$(id).closest("table").querySelectorAll("th")].map((head) => head.textContent);
  for (const made of rows) [...made.cells].forEach((each, place) => { each.dataset.head = heads[place]; });
  $(id).replaceChildren(...rows);
}

function button(label, work, question) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = label;
  made.addEventListener("click", guard(() => !question || confirm(question) ? work() : undefined));
  return made;
}

function short(id) {
  const made = document.createElement("code");
  made.textContent = id.slice(0, 16) + "…";
  made.title = id;
  return made;
}

const when = (ms) => new Date(ms).toISOString().replace("T", " ").slice(0, 19);

async function showMarkets() {
  const markets = await ask("markets");
  const books = await Promise.all(markets.map((market) => ask(`market/${market.market}/orderbook`)));
  fill("markets", markets.map((market, number) => {
    const name = market.market;
    const act = market.finalepoch
      ? button("Resume", () => change(`market/${name}/resume`))
      : [
          button("Suspend", () => change(`market/${name}/suspend`), `Suspend ${name} after this epoch and keep its book?`),
          button("Suspend and empty", () => change(`market/${name}/suspend?persist=false`), `Suspend ${name} and revoke every order?`),
        ];
    const state = market.running ? "running" : market.finalepoch ? "suspended" : "waiting for its chains";
    return row(cell(name), cell(state, market.running ? "good" : "bad"), cell(`${market.activeepoch}`, "number"),
      cell(`${books[number].orders.length}`, "number"), cell(act));
  }));
  return markets.every((market) => market.running);
}

async function showAssets() {
  const assets = await ask("assets");
  fill("assets", assets.map((asset) => {
    const scale = () => {
      const factor = prompt(`Scale ${asset.symbol}'s fee rates by (1 is the chain's own estimate)`, "1");
      return factor === null ? undefined : change(`asset/${asset.symbol}/setfeescale/${encodeURIComponent(factor)}`);
    };
    return row(cell(asset.symbol), cell(asset.synced ? "in view" : "out of view", asset.synced ? "good" : "bad"),
      cell(`${asset.scaledFeeRate}`, "number"), cell(`${asset.maxfeerate}`, "number"), cell(button("Scale", scale)));
  }));
  return assets.every((asset) => asset.synced);
}

async function showAudit() {
  const entries = await ask("audit?n=20");
  fill("audit", entries.map((entry) => row(cell(when(entry.stamp)), cell(entry.operator),
    cell(entry.address), cell(entry.request, "id"), cell(`${entry.status}`, entry.status < 400 ? "good" : "bad"))));
}

async function showAccounts() {
  $("known").replaceChildren(...(await ask("accounts")).map((id) => {
    const option = document.createElement("option");
    option.value = id;
    return option;
  }));
}

async function explain() {
  const id = $("account").value.trim();
  const [account, told] = [await ask(`account/${id}`), await ask(`account/${id}/explain`)];
  const { bondedTier, penalties, score } = told.reputation;
  const words = document.createElement("p");
  words.textContent = `Tier ${account.tier} (bonds for ${bondedTier}, penalties ${penalties}), score ${score}` +
    (told.cancelScore ? `, of that ${told.cancelScore} for cancelling too much` : "") +
    `; each ${told.penaltyThreshold} points below zero cost a tier. ${account.connected ? "Connected." : "Away."}`;
  const forgive = button("Forgive everything", () => change(`account/${id}/forgive_user`).then(explain), "Drop every bad outcome of this account?");
  $("standing").replaceChildren(words, forgive);
  $("outcomes-table").hidden = told.outcomes.length === 0;
  fill("outcomes", told.outcomes.map((found) => {
    const pardon = found.kind === "match" && found.score < 0
      ? button("Forgive", () => change(`account/${id}/forgive_match/${found.link}`).then(explain)) : "";
    return row(cell(when(found.stamp)), cell(found.name), cell(`${found.score}`, found.score < 0 ? "bad" : "good"),
      cell(found.counts ? "yes" : "no more"), cell([`${found.kind} `, short(found.link), ` ${found.market} epoch ${found.epoch}`]), cell(pardon));
  }));
}

async function refresh() {
  try {
    const good = (await Promise.all([showMarkets(), showAssets(), showAudit(), showAccounts()])).slice(0, 2).every(Boolean);
    say(good ? "open" : "not everything runs", good);
  } catch (error) {
    say(error.message, false);
  }
}

$("find").addEventListener("submit", guard(explain));
$("tell").addEventListener("submit", guard(() => change("notifyall", $("text").value)));
$("prepaid").addEventListener("submit", guard(async () => {
  const query = new URLSearchParams({ n: $("count").value, strength: $("strength").value, days: $("days").value });
  $("codes").textContent = (await ask(`prepaybonds?${query}`, "")).join("\n");
  $("codes").hidden = false;
  await refresh();
}));
refresh();
setInterval(refresh, 5000);
