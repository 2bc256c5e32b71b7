// The demo's additions to SimCord's page: its name, a button that takes the sample picture as `image`, links that
// stay on the page, and a notice where the page can't work.

document.querySelector(".brand-mark").textContent = "Z";
document.querySelector(".preview-brand strong").textContent = "Zoetrope";
document.querySelector(".preview-brand small").textContent = "offline demo";
document.querySelector(".viewer-control").firstChild.textContent = "You are ";
document.querySelector("#refresh").lastChild.textContent = "Refresh";

async function useSample(input) {
  const picture = await (await fetch("/sample.jpg")).blob();
  const files = new DataTransfer();
  files.items.add(new File([picture], "lighthouse.jpg", { type: "image/jpeg" }));
  input.files = files.files;
  input.dispatchEvent(new Event("change"));
}

// SimCord draws the options anew whenever one changes, so the button is added each time.
function offerSample() {
  for (const input of document.querySelectorAll(".command-file-input")) {
    const pill = input.parentElement;
    if (pill.querySelector(".sample-picture, .command-file-remove")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sample-picture";
    button.textContent = "Use sample";
    button.addEventListener("click", () => useSample(input));
    pill.append(button);
  }
}

new MutationObserver(offerSample).observe(document.querySelector("#channel-composer"), { childList: true, subtree: true });

// Discord makes suggestions as soon as an option is chosen, SimCord only once something is typed.
document.querySelector("#channel-composer").addEventListener("focusin", ({ target }) => {
  if (!target.matches(".command-option-input[role=combobox]") || target.value) return;
  setTimeout(() => {
    const nothing = document.querySelector(".command-popup .command-empty");
    if (nothing && document.activeElement === target) target.dispatchEvent(new Event("input"));
  });
});

// SimCord's page keeps its place. A chat follows what is new, until its reader scrolls up.
const timeline = document.querySelector("#channel-timeline");
let follow = false;
document.querySelector("#channel-composer").addEventListener("submit", () => { follow = true; }, true);
document.querySelector("#viewer-picker").addEventListener("change", () => { follow = true; });
for (const kind of ["wheel", "touchmove"]) timeline.addEventListener(kind, () => { follow = false; }, { passive: true });
new ResizeObserver(() => {
  if (follow) timeline.scrollTop = timeline.scrollHeight;
}).observe(document.querySelector("#channel-message-list"));

const notice = document.createElement("p");
notice.id = "demo-notice";
notice.setAttribute("role", "alert");
notice.hidden = true;
document.body.prepend(notice);
function tell(text) {
  notice.textContent = text;
  notice.hidden = !text;
}

// A link to a message leads to discord.com, which doesn't know this server. So the page goes to the message itself.
let elsewhere = 0;
function followLink(event) {
  const link = event.target.closest?.('a[href^="https://discord.com/channels/"]');
  if (!link) return;
  event.preventDefault();
  event.stopPropagation();
  const id = new URL(link.href).pathname.split("/").pop();
  const message = document.querySelector(`.channel-message[data-message-id="${CSS.escape(id)}"]`);
  if (!message) {
    tell("That message isn't in this channel's latest messages. It may be in another channel: choose one above.");
    clearTimeout(elsewhere);
    elsewhere = setTimeout(() => { if (!stopped) tell(""); }, 8000);
    return;
  }
  follow = false;
  message.scrollIntoView({ block: "center" });
  message.classList.remove("is-linked");
  void message.offsetWidth; // restarts the animation
  message.classList.add("is-linked");
}
for (const kind of ["click", "auxclick"]) document.addEventListener(kind, followLink, true);

// Each start of the demo has its own address, so a page whose demo has ended never works again.
const AGAIN = "Start `make demo` again and open the address that it prints.";
const CHECK_MS = 1500;
const FAILURES = 2;
let stopped = false;
function stop(text) {
  stopped = true;
  tell(text);
}
async function watch() {
  if (!location.hash.slice(1)) {
    stop("This address is incomplete. Open the one that `make demo` printed, with everything after the #.");
    return;
  }
  const headers = { "X-Simcord-Capability": location.hash.slice(1) };
  let failures = 0;
  try {
    const known = await fetch("/api/state", { headers, cache: "no-store" });
    if (known.status === 401) stop(`This address belongs to a demo that has stopped. ${AGAIN}`);
  } catch {
    failures += 1;
  }
  while (!stopped) {
    await new Promise((resolve) => { setTimeout(resolve, CHECK_MS); });
    try {
      await fetch("/demo.css", { cache: "no-store" });
      failures = 0;
    } catch {
      failures += 1;
    }
    if (failures >= FAILURES) stop(`The demo has stopped. ${AGAIN}`);
  }
}
watch();
