package access

import (
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// A rule says what is asked of the callers of a method.
type rule int

const (
	// ruleUndecided is that of a method which nobody has thought about: nobody may call it.
	ruleUndecided rule = iota
	// ruleOpen asks for no credentials.
	ruleOpen
	// ruleCaller asks for credentials. What they are worth is for the service to say.
	ruleCaller
	// ruleManaged is ruleCaller, and each call is in the audit.
	ruleManaged
)

// ruleOf returns the rule of a method. Streams are in the audit in any case.
func ruleOf(fullMethod string) rule {
	switch fullMethod {
	case healthpb.Health_Check_FullMethodName,
		healthpb.Health_List_FullMethodName,
		healthpb.Health_Watch_FullMethodName:
		return ruleOpen
	case reflectionpb.ServerReflection_ServerReflectionInfo_FullMethodName,
		reflectionalphapb.ServerReflection_ServerReflectionInfo_FullMethodName,
		webhookgatewayv1.EventService_Subscribe_FullMethodName,
		webhookgatewayv1.EventService_ListEvents_FullMethodName,
		webhookgatewayv1.EventService_GetEvent_FullMethodName,
		webhookgatewayv1.EventService_GetLogInfo_FullMethodName,
		webhookgatewayv1.SubscriptionService_GetSubscription_FullMethodName,
		webhookgatewayv1.SubscriptionService_ListSubscriptions_FullMethodName,
		webhookgatewayv1.SubscriptionService_Consume_FullMethodName,
		webhookgatewayv1.SubscriptionService_Acknowledge_FullMethodName,
		webhookgatewayv1.SubscriptionService_Reject_FullMethodName,
		webhookgatewayv1.SubscriptionService_ExtendDeadline_FullMethodName,
		webhookgatewayv1.SubscriptionService_CommitCursor_FullMethodName,
		webhookgatewayv1.SubscriptionService_ListParkedEvents_FullMethodName,
		webhookgatewayv1.OperatorService_GetCaller_FullMethodName,
		webhookgatewayv1.OperatorService_GetOverview_FullMethodName,
		webhookgatewayv1.OperatorService_GetHistory_FullMethodName,
		webhookgatewayv1.OperatorService_ListStreams_FullMethodName,
		webhookgatewayv1.OperatorService_ListRefusals_FullMethodName,
		webhookgatewayv1.OperatorService_ListSessions_FullMethodName,
		webhookgatewayv1.OperatorService_ListEventStates_FullMethodName:
		return ruleCaller
	case webhookgatewayv1.SubscriptionService_CreateSubscription_FullMethodName,
		webhookgatewayv1.SubscriptionService_UpdateSubscription_FullMethodName,
		webhookgatewayv1.SubscriptionService_DeleteSubscription_FullMethodName,
		webhookgatewayv1.SubscriptionService_SeekSubscription_FullMethodName,
		webhookgatewayv1.SubscriptionService_ReplayParkedEvents_FullMethodName,
		webhookgatewayv1.SubscriptionService_DiscardParkedEvents_FullMethodName:
		return ruleManaged
	}
	return ruleUndecided
}
