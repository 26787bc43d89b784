/* Chat formats against what transformers rendered from templates in Jinja (tests/golden/chat): every case is equal, refused, or counted as one that a format
 * without a template language cannot say. */
#include <jansson.h>

#include "lib_data.h"
#include "text/chat.h"

/* What became of the cases of a file. */
struct tally {
	size_t equal, both_refuse;      /* as the reference: text, or an error */
	size_t refused;                 /* the reference has a text */
	size_t beyond;                  /* another text than the reference's, for a reason that is known */
};

static void copy_setting(json_t *format, const char *name, char *to)
{
	const char *text = json_string_value(json_object_get(format, name));

	snprintf(to, MOE_CHAT_TEXT, "%s", text ? text : "");
}

/* The format that a family's file has. */
static struct moe_chat family_format(const char *path)
{
	json_t *doc = json_load_file(path, 0, NULL), *format = json_object_get(doc, "chat");
	struct moe_chat c = {0};

	assert_non_null(format);
	copy_setting(format, "turn", c.turn);
	copy_setting(format, "reply", c.reply);
	copy_setting(format, "image", c.image);
	copy_setting(format, "default_system", c.default_system);
	json_decref(doc);
	return c;
}

/* The template of qwen.jsonl, as far as a format can say it. */
static struct moe_chat qwen_format(void)
{
	return (struct moe_chat){
		.turn = "<|im_start|>{role}\n{content}<|im_end|>\n", .reply = "<|im_start|>assistant\n", .default_system = "You are a helpful assistant.",
		.image = "<|vision_start|><|image_pad|><|vision_end|>", .video = "<|vision_start|><|video_pad|><|vision_end|>",
		.roles = {.v = {"system", "user", "assistant", "tool"}, .n = 4},
	};
}

/* Does the reference's template do to this case what only a template can: number pictures, write tools, trim what the assistant said? */
static bool needs_template(json_t *c)
{
	json_t *m;
	size_t i;

	if (json_object_size(json_object_get(c, "kwargs")) || json_is_array(json_object_get(c, "tools")))
		return true;
	json_array_foreach(json_object_get(c, "messages"), i, m) {
		const char *role = json_string_value(json_object_get(m, "role")), *content = json_string_value(json_object_get(m, "content"));
		if (content && *content && !strcmp(role, "assistant") && (*content == ' ' || content[strlen(content) - 1] == '\n'))
			return true;
	}
	return false;
}

static enum moe_err render(const struct moe_chat *format, const char *json, bool reply, char **text, size_t *n, struct moe_diag *d)
{
	struct moe_message *m;
	size_t n_messages;
	enum moe_err err;

	MOE_TRY(moe_chat_messages(format, json, strlen(json), &m, &n_messages, d));
	err = moe_chat_render(format, m, n_messages, reply, text, n, d);
	moe_messages_free(m, n_messages);
	return err;
}

static void run_case(const struct moe_chat *format, json_t *c, struct tally *t)
{
	char *messages = json_dumps(json_object_get(c, "messages"), 0), *text = NULL;
	const char *want = json_string_value(json_object_get(c, "rendered"));
	struct moe_diag d = {0};
	size_t n = 0;
	enum moe_err err = render(format, messages, json_is_true(json_object_get(c, "add_generation_prompt")), &text, &n, &d);

	if (err)
		want ? t->refused++ : t->both_refuse++;
	else if (want && n == strlen(want) && !memcmp(text, want, n))
		t->equal++;
	else if (needs_template(c))
		t->beyond++;
	else
		fail_msg("%s: \"%s\", expected \"%s\"", messages, text, want ? want : "(an error)");
	if (!err)
		free(text);
	free(messages);
}

static struct tally run_file(const struct moe_chat *format, const char *path)
{
	struct tally t = {0};
	FILE *f = fopen(path, "r");
	json_t *c;

	assert_non_null(f);
	while ((c = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL))) {
		run_case(format, c, &t);
		json_decref(c);
	}
	fclose(f);
	return t;
}

static void test_reference(void **state)
{
	struct moe_chat aria = family_format("share/families/aria.json"), qwen = qwen_format();
	struct tally t = run_file(&aria, "tests/golden/chat/aria.jsonl");

	(void)state;
	assert_int_equal(t.equal, 26);
	assert_int_equal(t.refused, 2);         /* calls of tools, which Aria's template passes over */
	assert_int_equal(t.both_refuse + t.beyond, 0);
	t = run_file(&qwen, "tests/golden/chat/qwen.jsonl");
	assert_int_equal(t.equal, 20);
	assert_int_equal(t.both_refuse, 2);     /* a role that there is not */
	assert_int_equal(t.refused, 2);         /* tools */
	assert_int_equal(t.beyond, 4);          /* 2 number their pictures, 2 trim what the assistant said */
}

static void expect_text(const struct moe_chat *c, const char *json, bool reply, const char *want)
{
	struct moe_diag d = {0};
	size_t n = 0;
	char *text;

	expect_ok(&d, render(c, json, reply, &text, &n, &d));
	assert_string_equal(text, want);
	assert_int_equal(n, strlen(want));
	free(text);
}

/* Turns of their own for some roles, a beginning, and marks that a content may hold without being filled in. */
static void test_forms(void **state)
{
	struct moe_chat c = {.begin = "<s>", .user = "[INST] {content} [/INST]", .assistant = " {content}</s>", .roles = {.v = {"user", "assistant"}, .n = 2}};
	struct moe_chat twice = {.turn = "{role}:{content}|{role}\n", .default_system = "sys"};

	(void)state;
	expect_text(&c, "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"c\"}]", true,
		    "<s>[INST] a [/INST] b</s>[INST] c [/INST]");
	expect_text(&twice, "[{\"role\":\"user\",\"content\":\"{role} {content}\"}]", true, "system:sys|system\nuser:{role} {content}|user\n");
	expect_text(&twice, "[{\"role\":\"system\",\"content\":\"\"},{\"role\":\"user\",\"content\":[{\"text\":\"x\"}]}]", false, "system:|system\nuser:x|user\n");
	expect_text(&twice, "[]", false, "system:sys|system\n");
}

static void expect_refused(const struct moe_chat *c, const char *json, enum moe_err code, const char *part)
{
	struct moe_diag d = {0};
	size_t n;
	char *text;

	expect_fail(&d, render(c, json, true, &text, &n, &d), code, part);
}

static void test_refused(void **state)
{
	struct moe_chat none = {0}, c = {.user = "{content}\n"}, qwen = qwen_format();

	(void)state;
	expect_refused(&none, "[{\"role\":\"user\",\"content\":\"a\"}]", MOE_EUSAGE, "no chat format");
	expect_refused(&c, "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"system\",\"content\":\"a\"}]", MOE_EINPUT, "message 2: the chat format has no role \"system\"");
	expect_refused(&qwen, "[{\"role\":\"alien\",\"content\":\"a\"}]", MOE_EINPUT, "no role \"alien\"");
	expect_refused(&qwen, "[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[]}]", MOE_EINPUT, "message 1: calls of tools");
	expect_refused(&qwen, "[{\"role\":\"user\"}]", MOE_EINPUT, "message 1: expected");
	expect_refused(&qwen, "[{\"role\":\"user\",\"content\":\"a\"},7]", MOE_EINPUT, "message 2: expected");
	expect_refused(&qwen, "[{\"role\":1,\"content\":\"a\"}]", MOE_EINPUT, "message 1: expected");
	expect_refused(&qwen, "{\"role\":\"user\",\"content\":\"a\"}", MOE_EINPUT, "expected a list");
	expect_refused(&qwen, "[{\"role\":\"user\",\"content\":\"a\"", MOE_EINPUT, "JSON: line 1");
	expect_refused(&qwen, "", MOE_EINPUT, "JSON");
}

/* Whatever the bytes: a text, or a failure that says something, and no memory that is not freed (under the sanitizers). */
static void test_mutations(void **state)
{
	static const char from[] = "[{\"role\":\"user\",\"content\":[{\"type\":\"image\"},{\"type\":\"text\",\"text\":\"a\"}]},{\"role\":\"assistant\",\"content\":\"b\"}]";
	struct moe_chat c = qwen_format();
	uint64_t random = 7;
	size_t texts = 0, failures = 0;

	(void)state;
	for (int i = 0; i < (SLOW ? 500 : 5000); i++) {
		uint8_t bytes[2 * sizeof from];
		struct moe_message *m;
		struct moe_diag d = {0};
		size_t n, n_text;
		char *text;
		memcpy(bytes, from, sizeof from - 1);
		n = mutate(bytes, sizeof from - 1, sizeof bytes, &random);
		if (moe_chat_messages(&c, (char *)bytes, n, &m, &n, &d)) {
			assert_true(*say(&d));
			failures++;
			continue;
		}
		if (!moe_chat_render(&c, m, n, true, &text, &n_text, &d)) {
			free(text);
			texts++;
		}
		moe_messages_free(m, n);
	}
	assert_true(texts && failures);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_reference), cmocka_unit_test(test_forms), cmocka_unit_test(test_refused),
					   cmocka_unit_test(test_mutations)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
