// The client's own interface, with the key that the address's fragment brought; it never leaves this origin.

const STORED = "twinlock.key";

export class Refusal extends Error {
  constructor(status, told) {
    super(told.message);
    this.status = status;
    this.code = told.code;
    this.fix = told.fix;
  }
}

export class Gone extends Error {}

export function takeKey() {
  const given = location.hash.slice(1);
  if (given) {
    sessionStorage.setItem(STORED, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(STORED) || "";
}

export const keepKey = (key) => sessionStorage.setItem(STORED, key);
export const dropKey = () => sessionStorage.removeItem(STORED);

async function ask(method, path, body) {
  const headers = { authorization: `Bearer ${sessionStorage.getItem(STORED)}` };
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Gone();
  }
  const told = await answer.json();
  if (!answer.ok) throw new Refusal(answer.status, told);
  return told;
}

export const get = (path) => ask("GET", path);
export const post = (path, body) => ask("POST", path, body);
export const remove = (path) => ask("DELETE", path);

/** Calls back with every event until the socket closes; then `closed`. */
export function listen(heard, closed) {
  const address = location.origin.replace(/^http/, "ws") + "/events";
  const socket = new WebSocket(address, ["twinlock.events", `twinlock.key.${sessionStorage.getItem(STORED)}`]);
  socket.onmessage = (message) => heard(JSON.parse(message.data));
  socket.onclose = closed;
}
