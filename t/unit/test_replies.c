/*
 * Replies: the queue of what the coordinator owes, driven by the message
 * sequences of the manual's "Message Flow".
 */
#include <criterion/criterion.h>

#include "proxy/replies.h"
#include "proxy/wire.h"

static struct replies replies;

static void setup(void)
{
	replies_init(&replies);
}

static void teardown(void)
{
	replies_fini(&replies);
}

TestSuite(replies, .init = setup, .fini = teardown);

static void sent(enum reply reply)
{
	replies_expect(&replies, reply, false);
}

/* True if the client may see it. */
static bool got(uint8_t type)
{
	enum reply answered;

	return replies_arrived(&replies, type, &answered);
}

Test(replies, simple_query_ends_with_ready_for_query_only)
{
	sent(REPLY_QUERY);
	got(WIRE_BE_RowDescription);
	got(WIRE_BE_DataRow);
	got(WIRE_BE_CommandComplete);
	cr_assert_not(replies_drained(&replies));
	got(WIRE_BE_ReadyForQuery);
	cr_assert(replies_idle(&replies));
}

Test(replies, extended_query_is_idle_after_sync_alone)
{
	sent(REPLY_PARSE);
	cr_assert(replies.unsynced);
	cr_assert_not(replies.touched);
	got(WIRE_BE_ParseComplete);
	cr_assert(replies_drained(&replies));
	cr_assert_not(replies_idle(&replies));
	sent(REPLY_BIND);
	cr_assert(replies.touched);
	sent(REPLY_DESCRIBE);
	sent(REPLY_EXECUTE);
	sent(REPLY_SYNC);
	got(WIRE_BE_BindComplete);
	got(WIRE_BE_RowDescription);
	got(WIRE_BE_DataRow);
	got(WIRE_BE_CommandComplete);
	got(WIRE_BE_ReadyForQuery);
	cr_assert(replies_idle(&replies));
	cr_assert_not(replies.touched);
}

Test(replies, error_skips_to_the_sync_that_was_sent)
{
	sent(REPLY_PARSE);
	sent(REPLY_BIND);
	sent(REPLY_EXECUTE);
	sent(REPLY_SYNC);
	sent(REPLY_PARSE);
	got(WIRE_BE_ErrorResponse);
	cr_assert_not(replies.failed);
	got(WIRE_BE_ReadyForQuery);
	got(WIRE_BE_ParseComplete);
	cr_assert(replies_drained(&replies));
}

Test(replies, error_before_sync_ignores_what_comes_until_it)
{
	sent(REPLY_PARSE);
	got(WIRE_BE_ErrorResponse);
	cr_assert(replies.failed);
	sent(REPLY_BIND);
	sent(REPLY_QUERY); /* skipped by the server, too */
	cr_assert(replies_drained(&replies));
	sent(REPLY_SYNC);
	cr_assert_not(replies.failed);
	got(WIRE_BE_ReadyForQuery);
	cr_assert(replies_idle(&replies));
}

Test(replies, error_of_a_simple_query_keeps_its_ready_for_query)
{
	sent(REPLY_QUERY);
	sent(REPLY_QUERY);
	got(WIRE_BE_ErrorResponse);
	got(WIRE_BE_ReadyForQuery);
	cr_assert_not(replies_drained(&replies));
	got(WIRE_BE_ReadyForQuery);
	cr_assert(replies_idle(&replies));
}

Test(replies, hidden_replies_are_not_for_the_client)
{
	replies_expect(&replies, REPLY_PARSE, true);
	replies_expect(&replies, REPLY_BIND, true);
	sent(REPLY_EXECUTE);
	cr_assert_not(got(WIRE_BE_ParseComplete));
	cr_assert(got(WIRE_BE_NoticeResponse));
	cr_assert_not(got(WIRE_BE_BindComplete));
	cr_assert(got(WIRE_BE_DataRow));
	cr_assert(got(WIRE_BE_CommandComplete));
	cr_assert(replies_drained(&replies));
}

Test(replies, error_of_a_hidden_message_is_for_the_client)
{
	replies_expect(&replies, REPLY_PARSE, true);
	cr_assert(got(WIRE_BE_ErrorResponse));
	cr_assert(replies.failed);
}

Test(replies, describe_of_a_statement_ends_with_its_fields)
{
	sent(REPLY_DESCRIBE);
	got(WIRE_BE_ParameterDescription);
	cr_assert_not(replies_drained(&replies));
	got(WIRE_BE_NoData);
	cr_assert(replies_drained(&replies));
}

/* libpq sends Sync right behind Execute, then learns that it is COPY, and sends another. */
Test(replies, sync_sent_before_copy_in_is_ignored_by_the_server)
{
	sent(REPLY_EXECUTE);
	sent(REPLY_SYNC);
	got(WIRE_BE_CopyInResponse);
	cr_assert(replies.copying_in);
	sent(REPLY_SYNC); /* ignored while copying */
	replies_copy_ended(&replies);
	sent(REPLY_SYNC);
	got(WIRE_BE_CommandComplete);
	cr_assert_not(replies_drained(&replies));
	got(WIRE_BE_ReadyForQuery);
	cr_assert(replies_idle(&replies));
}

/* It fails before it reads anything: that Sync is answered, another may follow or not. */
Test(replies, sync_sent_before_copy_in_that_fails_at_once_is_answered)
{
	for (int another = 0; another < 2; another++) {
		sent(REPLY_EXECUTE);
		sent(REPLY_SYNC);
		got(WIRE_BE_CopyInResponse);
		got(WIRE_BE_ErrorResponse);
		cr_assert_not(replies_idle(&replies));
		cr_assert(got(WIRE_BE_ReadyForQuery));
		cr_assert(replies_idle(&replies));
		replies_copy_ended(&replies);
		if (!another)
			continue;
		sent(REPLY_SYNC);
		cr_assert_not(replies_drained(&replies));
		got(WIRE_BE_ReadyForQuery);
		cr_assert(replies_idle(&replies));
	}
	sent(REPLY_PARSE);
	cr_assert_not(replies_drained(&replies));
}

Test(replies, copy_in_by_simple_query)
{
	sent(REPLY_QUERY);
	got(WIRE_BE_CopyInResponse);
	replies_copy_ended(&replies);
	got(WIRE_BE_CommandComplete);
	got(WIRE_BE_ReadyForQuery);
	cr_assert(replies_idle(&replies));
}

Test(replies, sync_amid_copy_in_by_simple_query_is_ignored_by_the_server)
{
	sent(REPLY_QUERY);
	sent(REPLY_SYNC);
	got(WIRE_BE_CopyInResponse);
	sent(REPLY_SYNC);
	replies_copy_ended(&replies);
	got(WIRE_BE_CommandComplete);
	got(WIRE_BE_ReadyForQuery);
	cr_assert(replies_idle(&replies));
}

Test(replies, asynchronous_messages_answer_nothing)
{
	cr_assert(got(WIRE_BE_NotificationResponse));
	cr_assert(got(WIRE_BE_ParameterStatus));
	cr_assert(replies_idle(&replies));
}

Test(replies, thousands_of_messages_before_the_first_sync)
{
	for (int i = 0; i < 100000; i++)
		sent(i % 2 ? REPLY_EXECUTE : REPLY_BIND);
	sent(REPLY_SYNC);
	cr_assert_eq(replies.count, 100001);
	for (int i = 0; i < 100000; i++)
		got(i % 2 ? WIRE_BE_CommandComplete : WIRE_BE_BindComplete);
	cr_assert_not(replies_drained(&replies));
	got(WIRE_BE_ReadyForQuery);
	cr_assert(replies_idle(&replies));
}
