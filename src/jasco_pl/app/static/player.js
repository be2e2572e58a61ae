// One player for the whole page: whatever begins to play, what played before stops.
const audio = new Audio();
audio.preload = "none";
let owner = null;

function tell() {
  owner?.moved(audio.currentTime, !audio.paused && !audio.ended);
  if (owner && !audio.paused) requestAnimationFrame(tell);
}

for (const name of ["play", "pause", "ended", "seeked"]) audio.addEventListener(name, tell);
audio.addEventListener("error", () => owner?.failed?.());

// who: {url, moved(time, playing), failed(), loop}
export function play(who, time = null) {
  if (owner !== who) {
    const before = owner;
    owner = null;
    audio.pause();
    before?.moved(0, false);
    owner = who;
    audio.src = who.url;
    audio.loop = Boolean(who.loop);
  }
  if (time !== null) audio.currentTime = time;
  audio.play().catch((error) => error.name !== "AbortError" && who.failed?.());
}

export function toggle(who) {
  if (owner === who && !audio.paused) audio.pause();
  else play(who, owner === who && audio.ended ? 0 : null);
}

export function stop(who) {
  if (owner === who) audio.pause();
}

export const isPlaying = (who) => owner === who && !audio.paused;
export const timeOf = (who) => (owner === who ? audio.currentTime : 0);
