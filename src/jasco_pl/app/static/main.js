// The page: the form, the results, and what the server says of itself.
import { call } from "/static/api.js";
import { Form } from "/static/form.js";
import { Results } from "/static/results.js";

const state = $("state");

async function begin() {
  let model = await call("/api/model");
  const tell = () => {
    const name = model.checkpoint.split("/").at(-1);
    state.textContent = { loading: `loading ${name} …`, ready: name, failed: `the model could not be loaded: ${model.error}` }[model.state];
    state.classList.toggle("error", model.state === "failed");
  };
  tell();

  const ask = async (settings) => {
    $("form-said").textContent = "";
    $("make").disabled = true;
    try {
      const card = results.add(await call("/api/jobs", { method: "POST", json: settings }));
      if (matchMedia("(max-width: 60rem)").matches) card.node.scrollIntoView({ block: "start" });
    } catch (error) {
      $("form-said").textContent = error.message;
    } finally {
      $("make").disabled = false;
    }
  };
  const form = new Form(model, () => {
    let settings;
    try {
      settings = form.settings();
    } catch (error) {
      $("form-said").textContent = error.message;
      return;
    }
    ask(settings);
  });
  const results = new Results(form, ask);
  results.loading = () => model.state === "loading";
  await Promise.all([form.restore(), results.restore()]);
  document.body.dataset.ready = "true";
  while (model.state === "loading") {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    model = await call("/api/model").catch(() => model);
    tell();
  }
}

begin().catch((error) => {
  state.textContent = error.message;
  state.classList.add("error");
});
