"use strict";
// Follows the changes of a page with an element `data-live`: the page's own address as a stream of events has its new content.
// The content stays as it is while the keyboard's focus or a selection is in it. Without this script, pages are loaded again.

const live = document.querySelector("[data-live]");

if (live && window.EventSource) {
    const address = new URL(location.href);
    address.searchParams.delete("done");
    address.hash = "";
    const status = document.createElement("p");
    status.setAttribute("role", "status");
    live.before(status);
    let events = null, shown = null, next = null;

    const ids = (element) => new Set(Array.from(element.querySelectorAll("[id]"), (one) => one.id));

    const isUsed = () => {
        const selection = document.getSelection();
        return live.contains(document.activeElement) || (!selection.isCollapsed && selection.containsNode(live, true));
    };

    const show = () => {
        if (next === null || next === shown || isUsed()) {
            return;
        }
        const before = ids(live);
        const open = Array.from(live.querySelectorAll("details"), (one) => one.open);
        live.innerHTML = shown = next;
        live.querySelectorAll("details").forEach((one, number) => { one.open = open[number] || false; });
        const added = Array.from(ids(live)).filter((id) => !before.has(id)).length;
        status.textContent = added ? `${added} new` : "";
    };

    const follow = () => {
        if (document.hidden) {
            events?.close();
            events = null;
        } else if (events === null) {
            events = new EventSource(address);
            events.onmessage = (event) => {
                next = event.data;
                show();
                if (next !== shown) {
                    status.textContent = "This has changed; it is shown when you leave it.";
                }
            };
            events.onerror = () => {
                if (events.readyState === EventSource.CLOSED) {
                    status.textContent = "This isn't updated any more. Load the page again.";
                }
            };
        }
    };

    live.addEventListener("focusout", () => setTimeout(show));
    document.addEventListener("selectionchange", show);
    document.addEventListener("visibilitychange", follow);
    follow();
}
