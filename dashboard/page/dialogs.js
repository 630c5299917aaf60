// What people are asked: a token, a server to upload or change, whether to delete one.

import { change, Refused, serverPath } from "./stream.js";

const find = (id) => document.getElementById(id);

/**
 * ask shows a dialog and calls send when it is confirmed; it closes if that went well,
 * and else says what was wrong. If the button that it was opened with is gone by then,
 * the one beside it gets the focus.
 */
export function ask(dialog, send) {
  const opener = document.activeElement.closest(".actions");
  dialog.onclose = () => {
    const lost = document.activeElement === document.body || dialog.contains(document.activeElement);
    if (lost) opener?.querySelector("button")?.focus();
  };
  const form = dialog.querySelector("form");
  const problem = form.querySelector(".problem");
  const submit = form.querySelector("[type=submit]");
  problem.hidden = true;
  submit.disabled = false;
  form.querySelector("[value=cancel]").onclick = () => dialog.close();
  form.onsubmit = async (event) => {
    event.preventDefault();
    submit.disabled = true;
    problem.hidden = true;
    try {
      await send();
      dialog.close();
    } catch (error) {
      problem.textContent = words(error);
      problem.hidden = false;
    }
    submit.disabled = false;
  };
  dialog.showModal();
}

/** words says what went wrong. */
export function words(error) {
  if (error instanceof Refused) return error.message;
  if (error.name === "TimeoutError") return "The balancer did not answer in time. It may have made the change.";
  return "The balancer cannot be reached.";
}

/** askUpload asks for a server to upload to a pool, or for new settings of one. */
export function askUpload(pool, now, done) {
  const dialog = find("upload");
  const address = find("address");
  const weight = find("weight");
  const most = find("most");
  find("upload-title").textContent = now ? `Change ${now.address}` : `Upload a server to ${pool}`;
  dialog.querySelector("[type=submit]").textContent = now ? "Change" : "Upload";
  address.value = now?.address ?? "";
  address.readOnly = Boolean(now);
  weight.value = now?.weight ?? 1;
  most.value = now?.max_connections ?? 0;
  ask(dialog, async () => {
    const settings = { weight: weight.valueAsNumber, max_connections: most.valueAsNumber };
    const path = serverPath(pool, address.value.trim());
    if (now) await change("PATCH", path, settings);
    // One that is there already would be taken back into service by an upload.
    else await change("PUT", path, settings, { "If-None-Match": "*" });
    done(now ? `${now.address} is changed.` : `${address.value.trim()} is uploaded to ${pool}.`);
  });
  if (now) weight.focus();
}

/** askDelete asks whether to delete a server. */
export function askDelete(pool, now, done) {
  const dialog = find("delete");
  const force = find("force");
  force.checked = false;
  find("delete-note").textContent = `${now.address} of pool ${pool} gets no new work, and is gone once what is in flight has finished.`;
  ask(dialog, async () => {
    await change("DELETE", `${serverPath(pool, now.address)}?force=${force.checked}`);
    done(`${now.address} is being deleted.`);
  });
  dialog.querySelector("[value=cancel]").focus();
}

/** askToken shows the form for a token, with what was wrong with the one before. */
export function askToken(problem, use) {
  const form = find("login");
  const input = find("token");
  const note = form.querySelector(".problem");
  note.textContent = problem;
  note.hidden = !problem;
  form.hidden = false;
  form.onsubmit = (event) => {
    event.preventDefault();
    const text = input.value.trim();
    input.value = "";
    // Anything else cannot stand in a header, and so is no token.
    if (!/^[!-~]+$/.test(text)) return askToken("A token has nothing but letters, digits and signs.", use);
    form.hidden = true;
    use(text);
  };
  input.focus();
}
