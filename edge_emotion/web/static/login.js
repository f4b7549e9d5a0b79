// The login page.

import { session } from "./api.js";
import { say } from "./dom.js";
import { PAGES } from "./header.js";

/** The page that was asked for; the first one for anything that is no page of this site. */
const asked = new URLSearchParams(location.search).get("next");
const [page] = PAGES.find(([address]) => address === asked) ?? PAGES[0];
const [form, password, message] = ["login", "password", "message"].map((id) => document.getElementById(id));

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  say(message, "");
  try {
    await session("login", { password: password.value });
    location.assign(page);
  } catch (error) {
    say(message, error.message);
    password.select();
  } finally {
    button.disabled = false;
  }
});
