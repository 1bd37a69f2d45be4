// Prints what the suite tests: id, kind and needed tests of each, as JSON.
import tests from 'http-cache-tests/tests/index.mjs'
import surrogate from 'http-cache-tests/tests/surrogate-control.mjs'

const all = [...tests, surrogate].flatMap(suite => suite.tests.map(test => ({
  id: test.id,
  suite: suite.id,
  kind: test.kind || 'required',
  needs: test.depends_on || [],
  browser: test.browser_only === true
})))
console.log(JSON.stringify(all))
