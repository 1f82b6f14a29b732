// Uses the secret in the fragment of a sign-in link. A browser that is signed in already asks first.
const form = document.querySelector("form[data-link]");
const secret = location.hash.slice(1);
if (form && secret) {
  form.elements.secret.value = secret;
  history.replaceState(null, "", location.pathname); // the secret does not stay in the address
  if (!form.hasAttribute("data-signed-in")) form.requestSubmit();
}
