// The demo's additions to SimCord's page: its name, and a button that takes the sample picture as `image`.

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

// SimCord's page keeps its place. A chat follows what is new, until its reader scrolls up.
const timeline = document.querySelector("#channel-timeline");
let follow = false;
document.querySelector("#channel-composer").addEventListener("submit", () => { follow = true; }, true);
document.querySelector("#viewer-picker").addEventListener("change", () => { follow = true; });
for (const kind of ["wheel", "touchmove"]) timeline.addEventListener(kind, () => { follow = false; }, { passive: true });
new ResizeObserver(() => {
  if (follow) timeline.scrollTop = timeline.scrollHeight;
}).observe(document.querySelector("#channel-message-list"));
