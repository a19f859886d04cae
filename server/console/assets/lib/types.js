// What the REST API answers: the JSON of protobuf. What is zero is absent, and numbers of
// 64 bits are texts.

/** @typedef {string} Time RFC 3339 */
/** @typedef {string | number} Int64 */

/**
 * @typedef {object} EventFilter
 * @property {string[]} [providers]
 * @property {string[]} [eventTypes]
 * @property {string[]} [clientIds]
 * @property {string[]} [subjects]
 * @property {string[]} [verdicts]
 * @property {string[]} [providerEventIds]
 * @property {string[]} [excludeClientIds]
 */

/**
 * @typedef {object} Verification
 * @property {string} [mode]
 * @property {string} [method]
 * @property {string} [verdict]
 * @property {string} [keyId]
 * @property {string} [sourceAddress]
 * @property {string} [failure]
 */

/**
 * @typedef {object} GatewayEvent
 * @property {string} id
 * @property {string} [cursor]
 * @property {Time} receiveTime
 * @property {string} [provider]
 * @property {string} [type]
 * @property {string} [typeName]
 * @property {string} [clientId]
 * @property {Verification} [verification]
 * @property {boolean} [eventIdConflict]
 * @property {string} [decodeError]
 * @property {string} [subject]
 * @property {string} [providerEventId]
 * @property {{traceparent?: string, tracestate?: string}} [traceContext]
 * @property {string[]} [masked]
 * @property {unknown} [finicity]
 * @property {unknown} [vezgo]
 * @property {string} [rawBody]
 * @property {{name?: string, value?: string}[]} [headers]
 */

/**
 * @typedef {object} Caller
 * @property {string} [name]
 * @property {boolean} [accessControl]
 * @property {boolean} [operator]
 * @property {string[]} [views]
 * @property {{prefix?: string, manage?: boolean}[]} [subscriptions]
 * @property {boolean} [consoleActions]
 */

/**
 * @typedef {object} Overview
 * @property {string} [version]
 * @property {Time} [startTime]
 * @property {Time} [serverTime]
 * @property {string[]} [reasons]
 * @property {string[]} [problems]
 * @property {string[]} [damage]
 * @property {string[]} [warnings]
 * @property {string} [configFingerprint]
 * @property {Time} [configTime]
 * @property {{provider?: string, modes?: string[], lastTakenTime?: Time, lastRefusedTime?: Time}[]} [providers]
 * @property {{address?: string, self?: boolean}[]} [members]
 */

/**
 * @typedef {object} Series
 * @property {string} name
 * @property {Record<string, string>} [labels]
 * @property {(number | string)[]} [values]
 */

/** @typedef {{endTime?: Time, interval?: string, series?: Series[]}} History */

/**
 * @typedef {object} LogInfo
 * @property {string} [logId]
 * @property {string} [earliestCursor]
 * @property {string} [headCursor]
 * @property {Time} [earliestTime]
 * @property {Time} [headTime]
 * @property {Int64} [eventCount]
 * @property {Int64} [eventBytes]
 * @property {Time} [serverTime]
 */

/**
 * @typedef {object} OpenStream
 * @property {Int64} id
 * @property {string} [subscription]
 * @property {string} [caller]
 * @property {string} [remoteAddress]
 * @property {string} [userAgent]
 * @property {EventFilter[]} [filters]
 * @property {string} [view]
 * @property {Time} [openTime]
 * @property {string} [cursor]
 * @property {Int64} [lagEvents]
 * @property {boolean} [caughtUp]
 * @property {Int64} [sentEvents]
 * @property {Int64} [sentBytes]
 * @property {number} [eventsPerSecond]
 * @property {string} [delay]
 * @property {Time} [blockedSince]
 * @property {number} [blockedRatio]
 * @property {Int64} [inFlightEvents]
 */

/**
 * @typedef {object} Refusal
 * @property {string} [reason]
 * @property {number} [httpStatus]
 * @property {string} [message]
 * @property {string} [provider]
 * @property {string} [clientId]
 * @property {string} [sourceAddress]
 * @property {Int64} [count]
 * @property {Time} [firstTime]
 * @property {Time} [lastTime]
 * @property {Int64} [bodyBytes]
 * @property {{traceparent?: string, tracestate?: string}} [traceContext]
 */

/** @typedef {{id?: string, type?: string, receiveTime?: Time}} SessionEvent */

/**
 * @typedef {object} ConnectSession
 * @property {string} id
 * @property {string} [clientId]
 * @property {string} [subject]
 * @property {string} [state]
 * @property {Time} [startTime]
 * @property {Time} [lastTime]
 * @property {SessionEvent[]} [events]
 * @property {Int64} [eventCount]
 * @property {string[]} [missingEventTypes]
 * @property {string[]} [masked]
 */

/**
 * @typedef {object} SubscriptionStatus
 * @property {string} [cursor]
 * @property {string} [headCursor]
 * @property {Int64} [lagEvents]
 * @property {string} [lagTime]
 * @property {Int64} [inFlightEvents]
 * @property {Int64} [waitingEvents]
 * @property {Int64} [parkedEvents]
 * @property {string} [oldestParkedAge]
 * @property {number} [streams]
 * @property {string} [expiresIn]
 * @property {{fromCursor?: string, toCursor?: string, reason?: string}} [gap]
 * @property {Int64} [readyEvents]
 * @property {Int64} [unreadEvents]
 * @property {Int64} [leftOutEvents]
 * @property {string} [unusable]
 * @property {string} [owner]
 */

/**
 * @typedef {object} Subscription
 * @property {string} name
 * @property {EventFilter[]} [filters]
 * @property {Record<string, string | number>} [settings]
 * @property {SubscriptionStatus} [status]
 * @property {Time} [createTime]
 * @property {{cursor?: string, time?: Time, position?: string}} [start]
 */

/**
 * @typedef {object} ParkedEvent
 * @property {GatewayEvent} event
 * @property {string} [reason]
 * @property {string} [message]
 * @property {number} [attempts]
 * @property {Time} [parkTime]
 */

/** @typedef {{cursor?: string, logEvents?: Int64, matchingEvents?: Int64, exact?: boolean, repeatedEvents?: Int64}} SeekPreview */
/** @typedef {{subscription?: string, state?: string, attempts?: number}} EventState */

/**
 * A frame of Subscribe, or the error that ends a stream.
 * @typedef {object} Frame
 * @property {{startCursor?: string, headCursor?: string, filters?: EventFilter[]}} [subscribed]
 * @property {{events?: GatewayEvent[], afterCursor?: string}} [events]
 * @property {{cursor?: string, headCursor?: string, lagEvents?: Int64, serverTime?: Time, afterCursor?: string, leftOutEvents?: Int64}} [heartbeat]
 * @property {{cursor?: string, afterCursor?: string, leftOutEvents?: Int64}} [caughtUp]
 * @property {{cursor?: string, lagEvents?: Int64, afterCursor?: string}} [fellBehind]
 * @property {{fromCursor?: string, toCursor?: string, reason?: string}} [gap]
 * @property {{cursor?: string, reason?: string, retryAfter?: string, afterCursor?: string}} [goodbye]
 * @property {{reason?: string, message?: string, metadata?: Record<string, string>}} [error]
 */

export {};
