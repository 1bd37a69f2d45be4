// The harness page's script: one player, one <video>, nothing else.

const video = document.querySelector("video");
// Not video.loop: a track a little longer than the title leaves hls.js waiting at the end.
for (const event of ["ended", "waiting"]) {
  video.addEventListener(event, () => {
    if (!(video.duration - video.currentTime < 0.35)) return;
    video.currentTime = 0;
    void video.play().catch(() => {}); // the player may have opened another source meanwhile
  });
}

const script = (src) => new Promise((resolve, reject) => {
  document.head.append(Object.assign(document.createElement("script"), { src, onload: resolve, onerror: () => reject(new Error(`load ${src}`)) }));
});

const players = {
  async "hls.js"(url, config) {
    await script("/node_modules/hls.js/dist/hls.min.js");
    const hls = new Hls(config);
    hls.on(Hls.Events.ERROR, (_, e) => __probe.error(`hls.js: ${e.details}${e.fatal ? " (fatal)" : ""} ${e.response?.code ?? ""} ${e.url ?? e.frag?.url ?? ""}`.trim()));
    hls.loadSource(url);
    hls.attachMedia(video);
  },
  async "dash.js"(url, config) {
    await script("/node_modules/dashjs/dist/modern/umd/dash.all.min.js");
    const player = dashjs.MediaPlayer().create();
    player.updateSettings({ debug: { logLevel: dashjs.Debug.LOG_LEVEL_NONE }, ...config });
    player.on(dashjs.MediaPlayer.events.ERROR, (e) => __probe.error(`dash.js: ${e.error?.code ?? ""} ${e.error?.message ?? e.error}`));
    player.initialize(video, url, true);
  },
  async shaka(url, config) {
    await script("/node_modules/shaka-player/dist/shaka-player.compiled.js");
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    await player.attach(video);
    player.configure(config);
    player.addEventListener("error", (e) => __probe.error(`shaka: ${e.detail.code} ${e.detail.message ?? ""}`));
    await player.load(url);
  },
};

/** Called by run.mjs. */
window.begin = async (player, url, config) => {
  __probe.begun = performance.now();
  try {
    await players[player](url, config);
    // dash.js plays by itself. It would not learn that it does from a play() that comes too early, and load no live MPD anew.
    if (player !== "dash.js") await video.play();
  } catch (error) {
    __probe.error(`${player}: ${error.code ?? ""} ${error.message ?? error}`);
  }
};
