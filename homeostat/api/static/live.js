"use strict";
// The live list: one line an event, newest first, no more than 200 lines.
const list = document.getElementById("live");
const state = document.getElementById("connection");
const source = new EventSource("/api/v1/events");
source.onopen = () => { state.textContent = "listening"; };
source.onerror = () => { state.textContent = "not connected, trying again"; };
for (const kind of ["audit", "incident", "bus"]) {
  source.addEventListener(kind, (message) => {
    const event = JSON.parse(message.data);
    const row = document.createElement("tr");
    const when = event.at.slice(0, 19).replace("T", " ");
    for (const text of [when, kind, event.who, event.what]) {
      const cell = document.createElement("td");
      cell.textContent = text;
      row.append(cell);
    }
    document.getElementById("nothing")?.remove();
    list.prepend(row);
    while (list.children.length > 200) { list.lastElementChild.remove(); }
  });
}
