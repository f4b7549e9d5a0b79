// The login page.

import { session } from "./api.js";
import { say } from "./dom.js";

const [form, password, message] = ["login", "password", "message"].map((id) => document.getElementById(id));

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  say(message, "");
  try {
    await session("login", { password: password.value });
    location.assign("./");
  } catch (error) {
    say(message, error.message);
    password.select();
  } finally {
    button.disabled = false;
  }
});
