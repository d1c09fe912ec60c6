// The page of a cluster: a picture each second from /admin/events, buttons for those who may, and the export.
// Text from the cluster is only ever set as text, never as markup.
"use strict";

const $ = (id) => document.getElementById(id);
const SIGNS = { LEADER: "★", FOLLOWER: "●", CANDIDATE: "?", CRASHED: "✖", UNREACHABLE: "∅", FAULT: "✖", SUSPENDED: "‖", REMOVED: "–", BLOCK: "■" };
const LOOKS = { LEADER: "good", FOLLOWER: "good", BLOCK: "good", CANDIDATE: "warn", SUSPENDED: "warn", REMOVED: "warn" };
let admin = false;
let before = null; // the picture before, for rates

function make(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) n /= 1024, unit++;
  return `${unit ? n.toFixed(1) : n} ${units[unit]}`;
}

const time = (s) => new Date(s * 1000).toLocaleTimeString();

// ---- what operators do

async function change(path, body) {
  $("outcome").textContent = "";
  try {
    const headers = { "X-SurfFS-Request": "1" };
    if (body) headers["Content-Type"] = "application/json";
    const answer = await fetch(path, { method: "POST", headers, body: body && JSON.stringify(body) });
    if (!answer.ok) $("outcome").textContent = `${answer.status}: ${await answer.text()}`;
  } catch (error) {
    $("outcome").textContent = `The node does not answer: ${error.message}`;
  }
}

function button(node, verb, text) {
  return make("button", { type: "button", "data-verb": verb, "data-node": node.id, "aria-label": `${text} node ${node.id}`,
    onclick: (event) => {
      event.currentTarget.disabled = true;
      change(`/admin/nodes/${node.id}/${verb}`).finally(() => { const b = $(`b-${node.id}-${verb}`); if (b) b.disabled = false; });
    }, id: `b-${node.id}-${verb}` }, text);
}

// ---- the picture

function rates(node, picture) {
  const old = before && before.nodes && before.nodes.find((n) => n.id === node.id);
  if (!old || !old.work || !node.work || old.pid !== node.pid) return null;
  const seconds = (picture.taken - before.taken) / 1000;
  let count = 0, took = 0;
  for (const [method, now] of Object.entries(node.work)) {
    // Those that wait until there is something to say say nothing of how busy it is.
    if (method.startsWith("ADMIN") || method === "META_NOTICES" || method === "META_CHANGES" || method === "META_KV_EVENTS" || method === "META_KEEPALIVE") continue;
    const then = old.work[method] || { count: 0, took_us: 0 };
    count += now.count - then.count;
    took += now.took_us - then.took_us;
  }
  return { perSecond: count / seconds, millis: count ? took / count / 1000 : 0 };
}

function lines(list) {
  const dl = make("dl");
  for (const [name, value] of list) if (value !== undefined && value !== null && value !== "") dl.append(make("dt", {}, name), make("dd", {}, String(value)));
  return dl;
}

function nodeCard(node, picture) {
  const rate = rates(node, picture);
  const leader = picture.nodes.find((n) => n.id === picture.leader);
  const card = make("article", { class: `card ${LOOKS[node.state] || "bad"}`, "data-node": node.id, "data-state": node.state, "aria-label": `Node ${node.id}` });
  card.append(make("h3", {}, `Node ${node.id}${node.id === picture.self ? " (this one)" : ""}`),
    make("div", { class: "state" }, `${SIGNS[node.state] || "?"} ${node.state}`));
  card.append(lines([
    ["Address", node.address], ["Why", node.error || node.fault || node.suspended], ["Term", node.term],
    ["Applied", node.applied === undefined ? undefined : `${node.applied} of ${node.commit} committed`],
    ["Behind", node.behind ? `${node.behind} ${node.behind === 1 ? "entry" : "entries"}` : undefined],
    ["Does not hear", node.ignores && node.ignores.length ? `node ${node.ignores.join(", ")}` : undefined],
    ["Snapshot", node.snapshot && `${bytes(node.snapshot.bytes)} of ${bytes(node.snapshot.total)}`],
    ["Voter", node.voter === false ? "no: it learns" : undefined],
    ["Leases", node.state === "LEADER" ? `${node.leased_inodes} inodes at ${node.lease_holders} mounts` : undefined],
    ["Requests", rate && `${rate.perSecond.toFixed(rate.perSecond < 10 ? 1 : 0)}/s, ${rate.millis.toFixed(2)} ms each`],
    ["Up", node.uptime_s === undefined ? undefined : `${node.uptime_s} s`],
  ]));
  if (leader && node.match !== undefined && leader.last) {
    const label = `What node ${node.id} has of the log: ${node.match} of ${leader.last}`;
    card.append(make("progress", { max: leader.last, value: node.match, "aria-label": label, title: label }));
  }
  if (admin && node.roles !== undefined) {
    const crashed = node.state === "CRASHED";
    card.append(crashed ? button(node, "restore", "Restore") : button(node, "crash", "Crash"));
    if (!crashed && node.roles.includes("meta")) {
      if (node.state !== "LEADER") card.append(button(node, "leader", "Make leader"));
      card.append(button(node, "isolate", "Isolate"));
    }
  }
  return card;
}

function serverCard(server) {
  const good = server.reporting && !server.short_blocks && !server.bad_now && !server.full && !server.failed;
  const card = make("article", { class: `card ${good ? "good" : server.reporting ? "warn" : "bad"}`, "aria-label": `Block server ${server.id}` });
  const state = !server.reporting ? "✖ NOT REPORTING" : server.failed ? "▲ FAILED" : server.draining ? "▽ DRAINED" : server.full ? "▲ FULL" : good ? "● HEALTHY" : "▲ INCOMPLETE";
  const used = server.disk_total - server.disk_free;
  card.append(make("h3", {}, `Block server ${server.id}`), make("div", { class: "state" }, state));
  card.append(lines([
    ["Address", server.address], ["Zone", server.zone], ["Blocks", `about ${server.blocks}, ${bytes(server.block_bytes)}`],
    ["Copies missing", server.short_blocks || undefined], ["Perhaps missing", server.unsure_blocks || undefined], ["Bad copies", server.bad_now || undefined],
    ["Repair", server.walking ? "comparing with the other servers" : server.walk_due ? "soon" : `at rest; ${server.copied_blocks} copied`],
    ["Scrub", server.scrub_rate ? `${bytes(server.scrubbed_bytes)} read, ${server.bad_found} bad found` : "off"],
    ["Garbage", `${server.collected_blocks} blocks removed`],
  ]));
  if (server.disk_total) {
    const label = `Disk: ${bytes(used)} of ${bytes(server.disk_total)} in use`;
    card.append(make("progress", { max: server.disk_total, value: used, "aria-label": label, title: label }), make("small", {}, label));
  }
  return card;
}

// Cards are made anew each second; who was on a button with the keyboard stays there.
function replaceKeepingFocus(list, cards) {
  const held = list.contains(document.activeElement) ? document.activeElement.id : null;
  const card = held && document.activeElement.closest("[data-node]") && document.activeElement.dataset.node;
  list.replaceChildren(...cards);
  const again = held && ($(held) || list.querySelector(`article[data-node="${card}"] button`));
  if (again) again.focus({ preventScroll: true });
}

function showPartition(picture) {
  $("partition").hidden = !admin;
  $("no-admin").hidden = admin;
  const box = $("partition-nodes");
  const members = picture.nodes.filter((n) => n.roles && n.roles.includes("meta"));
  const known = members.map((n) => n.id).join();
  if (box.dataset.known === known) return;
  box.dataset.known = known;
  box.replaceChildren(...members.map((n) => make("label", {}, make("input", { type: "checkbox", value: n.id }), ` node ${n.id}`)));
}

function show(picture) {
  picture.taken = Date.now();
  document.body.classList.remove("lost");
  showEvents(picture.events || []);
  if (picture.error) {
    $("summary").textContent = `✖ No node answers: ${picture.error}`;
    return;
  }
  $("summary").textContent = picture.leader ? `● Node ${picture.leader} leads; ${picture.nodes.length} nodes`
    : picture.quorum ? "▲ There is no leader now" : "✖ There is no leader and no quorum: nothing can be changed now";
  $("figures").textContent = `Cluster ${picture.cluster_id || "not formed yet"}; ${picture.inodes} inodes`;
  $("space").textContent = `${bytes(picture.space.logical)} in files` +
    (picture.space.unique === null ? "" : `, ${bytes(picture.space.unique)} in different blocks`) +
    `, ${bytes(picture.space.physical)} on the disks with ${picture.space.copies} ${picture.space.copies === 1 ? "copy" : "copies"} of each`;
  replaceKeepingFocus($("node-list"), picture.nodes.map((n) => nodeCard(n, picture)));
  $("server-list").replaceChildren(...picture.block_servers.map(serverCard));
  $("session-list").replaceChildren(...picture.sessions.map((s) => make("tr", {}, make("td", {}, String(s.id)), make("td", {}, s.client),
    make("td", {}, s.export), make("td", {}, s.silent_s < 0 ? "not known" : `${s.silent_s.toFixed(1)} s ago`),
    make("td", {}, s.waits ? `${s.locks}, waits for ${s.waits}` : String(s.locks)))));
  showPartition(picture);
  before = picture;
}

function showEvents(events) {
  $("event-list").replaceChildren(...events.map((e) => make("li", {}, make("time", {}, time(e.time_s)), ` ${e.text}`)));
}

// ---- the export

let directory = []; // names as links have them

const link = () => "/files/" + directory.map((name) => name + "/").join("");

function showPath() {
  const path = $("path");
  path.replaceChildren(make("button", { type: "button", onclick: () => enter([]) }, "/"));
  directory.forEach((name, i) => {
    let text = name;
    try { text = decodeURIComponent(name); } catch { /* not UTF-8: as it is written */ }
    path.append(make("button", { type: "button", onclick: () => enter(directory.slice(0, i + 1)) }, text));
  });
}

async function ask(url) {
  const answer = await fetch(url, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

async function showBlocks(entry) {
  try {
    const list = await ask(`${link()}${entry.link}?blocks`);
    $("blocks").hidden = false;
    $("blocks-title").textContent = `${entry.name}, version ${list.version}: ${list.blocks.length}${list.next ? " first" : ""} blocks`;
    $("block-list").replaceChildren(...list.blocks.map((b) => make("tr", {}, make("td", { class: "number" }, String(b.offset)),
      make("td", { class: "number" }, String(b.length)), make("td", { class: "hash" }, b.block), make("td", { class: "number" }, String(b.block_offset)))));
  } catch (error) {
    $("outcome").textContent = error.message;
  }
}

function fileRow(entry) {
  const row = make("tr");
  const name = make("td"), blocks = make("td");
  if (entry.type === "directory")
    name.append(make("button", { type: "button", onclick: () => enter([...directory, entry.link.replace(/\/$/, "")]) }, entry.name + "/"));
  else if (entry.type === "file") name.append(make("a", { href: link() + entry.link }, entry.name));
  else name.append(entry.name);
  if (entry.type === "file") blocks.append(make("button", { type: "button", "aria-label": `Blocks of ${entry.name}`, onclick: () => showBlocks(entry) }, "Blocks"));
  row.append(name, make("td", {}, entry.type), make("td", { class: "number" }, String(entry.size)), make("td", { class: "number" }, String(entry.version)),
    make("td", {}, new Date(entry.mtime_s * 1000).toLocaleString()), blocks);
  return row;
}

async function listFiles(after) {
  try {
    const page = await ask(link() + (after ? `?after=${after}` : ""));
    const rows = page.entries.map(fileRow);
    if (after) $("file-list").append(...rows);
    else $("file-list").replaceChildren(...rows);
    $("more-files").hidden = !page.next;
    $("more-files").onclick = () => listFiles(page.next);
  } catch (error) {
    $("file-list").replaceChildren(make("tr", {}, make("td", { colspan: 6 }, error.message)));
  }
}

function enter(names) {
  directory = names;
  $("blocks").hidden = true;
  showPath();
  listFiles();
}

// ---- the beginning

$("partition").addEventListener("submit", (event) => {
  event.preventDefault();
  const boxes = [...$("partition-nodes").querySelectorAll("input")];
  const groups = [boxes.filter((b) => b.checked), boxes.filter((b) => !b.checked)].map((g) => g.map((b) => Number(b.value)));
  change("/admin/partition", { groups, one_way: $("one-way").checked });
});
$("heal").addEventListener("click", () => change("/admin/heal"));
$("reload-files").addEventListener("click", () => listFiles());

fetch("/admin/cluster").then((answer) => answer.json()).then((picture) => {
  admin = picture.admin === true;
}).catch(() => {}).finally(() => {
  const stream = new EventSource("/admin/events");
  stream.onmessage = (message) => show(JSON.parse(message.data));
  stream.onerror = () => {
    document.body.classList.add("lost");
    $("summary").textContent = "✖ This node does not answer; what is below is old";
  };
  enter([]);
});
