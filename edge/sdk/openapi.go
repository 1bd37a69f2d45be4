package sdk

import (
	_ "embed"
	"net/http"
)

//go:embed openapi.json
var openAPIText []byte

func openAPIDocument() []byte { return openAPIText }

func (a *API) document(w http.ResponseWriter, _ *http.Request) *problem {
	h := w.Header()
	h.Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
	h.Set("Cache-Control", "public, max-age=3600")
	send(w, http.StatusOK, a.openAPI)
	return nil
}
