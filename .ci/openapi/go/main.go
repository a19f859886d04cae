// Command check tries a client that oapi-codegen generated from the OpenAPI document
// of the internal port on a running gateway: calls with typed answers, and a stream
// that is read line by line.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"openapicheck/internalapi"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(1)
	}
}

func run(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := internalapi.NewClientWithResponses(url)
	if err != nil {
		return err
	}
	size := int32(1)
	list, err := client.ListEventsWithResponse(ctx, &internalapi.ListEventsParams{PageSize: &size})
	if err != nil {
		return err
	}
	if list.JSON200 == nil || list.JSON200.Events == nil || len(*list.JSON200.Events) != 1 {
		return fmt.Errorf("the list is %s", list.Body)
	}
	id := *(*list.JSON200.Events)[0].Id
	missing, err := client.GetSubscriptionWithResponse(ctx, "missing")
	if err != nil {
		return err
	}
	if missing.JSON404 == nil || missing.JSON404.Error.Reason != "SUBSCRIPTION_NOT_FOUND" {
		return fmt.Errorf("a subscription that is not there: %s", missing.Body)
	}

	start, stop := internalapi.STARTPOSITIONEARLIEST, true
	resp, err := client.Subscribe(ctx, internalapi.SubscribeJSONRequestBody{StartPosition: &start, StopAtHead: &stop})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	frames, seen := 0, false
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); frames++ {
		var frame internalapi.WebhookgatewayV1SubscribeResponse
		if err := json.Unmarshal(lines.Bytes(), &frame); err != nil {
			return err
		}
		if frame.Events != nil && frame.Events.Events != nil {
			for _, event := range *frame.Events.Events {
				seen = seen || *event.Id == id
			}
		}
	}
	if !seen {
		return fmt.Errorf("event %s is not in the stream", id)
	}
	fmt.Printf("Go: %d frames, event %s\n", frames, id)
	return nil
}
