package console

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
)

func TestPolicyHasWhatStandsInThePage(t *testing.T) {
	t.Parallel()
	script, style := `a = "</div>"; b = 1`, `.a::after { content: "</b>" }`
	_, policy, err := makePage(map[string][]byte{
		indexName: []byte("<script>{{start.js}}</script><style>{{style/a.css}}</style>"), "start.js": []byte(script), "style/a.css": []byte(style),
	}, "/folder/")
	if err != nil {
		t.Fatal(err)
	}
	for kind, text := range map[string]string{"script-src": script, "style-src": style} {
		sum := sha256.Sum256([]byte(text))
		if want := kind + " 'self' 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"; !strings.Contains(policy, want) {
			t.Errorf("the policy %s lacks %s", policy, want)
		}
	}
}
