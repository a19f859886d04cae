package main

import (
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// addBackup adds the one call of the internal port that no service has: a backup is
// files, not messages.
func addBackup(d document, reasons map[webhookgatewayv1.ErrorReason]reason) error {
	paths, err := object(d, "paths")
	if err != nil {
		return err
	}
	op := operation{document: document{
		"operationId": "makeBackup",
		"summary":     "Make a backup of the store, while the gateway runs.",
		"description": "The answer is a tar stream with the files of the store, all of one moment, and a manifest with their checksums. " +
			"It has everything that the store has: keep it as safe. `webhook-gateway backup` makes this call and checks what comes, " +
			"`webhook-gateway restore` makes a store of it. A backup that fails midway breaks the connection.",
		"tags": []any{"Administration"},
		"responses": document{
			"200": document{
				"description": "The backup.",
				"content":     document{"application/x-tar": document{"schema": document{"type": "string", "format": "binary"}}},
			},
			"409": document{
				"description": "- `BACKUP_RUNNING`: a backup is being made already. Try again when it has ended.",
				"content":     document{contentJSON: document{"schema": reference(errorSchema)}},
			},
		},
	}}
	paths["/admin/backup"] = document{"post": op.document}
	tags, _ := d["tags"].([]any)
	d["tags"] = append(tags, document{"name": "Administration", "description": "What operators do with a gateway as a whole."})
	return op.addErrors(list(reasons,
		webhookgatewayv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE,
		webhookgatewayv1.ErrorReason_ERROR_REASON_HOST_NOT_ALLOWED,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CROSS_ORIGIN,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_MISSING,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_INVALID,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_EXPIRED,
		webhookgatewayv1.ErrorReason_ERROR_REASON_ISSUER_UNAVAILABLE,
		webhookgatewayv1.ErrorReason_ERROR_REASON_NOT_GRANTED,
	))
}
