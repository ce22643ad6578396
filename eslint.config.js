// For `npx eslint jssm/report/web`, with the packages eslint, @eslint/js and globals.
import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2023, sourceType: "module", globals: globals.browser },
    rules: {
      "no-var": "error",
      "prefer-const": "error",
      eqeqeq: "error",
      "no-shadow": "error",
      "no-implicit-globals": "error",
      complexity: ["error", 14],
      "max-lines-per-function": ["error", 70],
      "max-lines": ["error", 450],
    },
  },
];
