import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// A server of the API for `npm run dev`: its address is printed by `cargo xtask up`.
const api = process.env.ZONECERT_API ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [react()],
  // No `data:` address: the policy allows none. No polyfill: it would be an inline script in older browsers.
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false }, emptyOutDir: false },
  server: { proxy: { "/api": { target: api } } },
});
