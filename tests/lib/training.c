/* What training keeps and reads beside the network: recipes, checkpoints and their faults, logs, charts. */
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "lib_data.h"
#include "report/losses.h"
#include "train/branch.h"
#include "train/position.h"
#include "train/recipe.h"
#include "train/snapshot.h"
#include "train/trainlog.h"

enum { N = 3, TOTAL = 96 };

static struct moe_param table[N] = {
	{"a.weight", "q", 0, -1, MOE_PART_ATTENTION, 0, 24, 4, 6, true},
	{"b", "final_norm", -1, -1, MOE_PART_NORM, 32, 10, 1, 10, false},
	{"c \"quoted\"", "gate", 0, 1, MOE_PART_EXPERTS, 48, 35, 5, 7, true},
};
static const struct moe_params params = {table, N, TOTAL};
static char folder[] = "/tmp/moe-training-XXXXXX";

static const char *in(const char *name)
{
	static char path[4][200];
	static unsigned turn;
	char *p = path[turn++ % 4];

	snprintf(p, sizeof path[0], "%s/%s", folder, name);
	return p;
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

/* ---- recipes ---- */

static json_t *parse(const char *text)
{
	json_error_t e;
	json_t *doc = json_loads(text, JSON_REJECT_DUPLICATES, &e);

	if (!doc)
		fail_msg("%s: %s", text, e.text);
	return doc;
}

#define STAGE "{\"sources\": [{\"data\": [\"a.tar\"]}], \"tokens\": 1000"

static void test_recipe_defaults(void **state)
{
	struct moe_recipe *r, *again;
	struct moe_diag d = {0};
	json_t *doc = parse("{\"stages\": [{\"name\": \"one\", \"sources\": [{\"data\": \"a.tar\", \"weight\": 2, \"augment\": \"colour\"}, {\"data\": [\"b\", \"c\"]}], \"tokens\": 1e3,"
			    "\"lr\": {\"adamw\": 0.5}, \"losses\": {\"types\": {\"caption\": 0.4}}, \"freeze\": [\"vision\", \"experts@0\"]}, " STAGE ", \"train\": \"aux\"}], \"checkpoint\": {\"keep\": [900, 100]}}");
	json_t *resolved, *twice;

	(void)state;
	expect_ok(&d, moe_recipe_read(&r, doc, &d));
	assert_int_equal(r->n_stages, 2);
	assert_int_equal(r->stage[0].n_sources, 2);
	assert_true(r->stage[0].source[0].weight == 2 && r->stage[0].source[0].augment == MOE_AUGMENT_COLOUR && r->stage[0].source[1].data.n == 2);
	assert_true(r->stage[0].adamw_rate == 0.5 && r->stage[0].muon_rate == 0.02 && r->stage[0].vision_rate == 1);
	assert_true(r->stage[0].warmup == 20 && r->stage[0].decay == 0);        /* a fiftieth of the first, and half of the last */
	assert_true(r->stage[1].warmup == 0 && r->stage[1].decay == 500);
	assert_true(r->stage[0].batch == 48 && r->stage[1].batch == 8);         /* the second trains auxiliary routers */
	assert_string_equal(r->stage[0].type[0].type, "caption");
	assert_true(r->stage[0].freeze.n == 2 && r->stage[0].clip == 1);
	assert_true(r->checkpoint.every == 40 && r->checkpoint.keep[0] == 100 && r->checkpoint.keep[1] == 900);
	assert_int_equal(moe_recipe_tokens(r), 2000);
	/* What is resolved says the same when it is read. */
	resolved = moe_recipe_resolved(r);
	expect_ok(&d, moe_recipe_read(&again, resolved, &d));
	twice = moe_recipe_resolved(again);
	assert_true(json_equal(resolved, twice));
	json_decref(resolved);
	json_decref(twice);
	json_decref(doc);
	moe_recipe_free(r);
	moe_recipe_free(again);
}

static void test_recipe_errors(void **state)
{
	static const struct { const char *text, *says; } rows[] = {
		{"[]", "expected an object"}, {"{}", "stages: expected a list"}, {"{\"stages\": []}", "stages: expected a list"}, {"{\"stages\": [3]}", "stage 1: expected an object"},
		{"{\"stages\": [{\"sources\": [{\"data\": \"a\"}]}]}", "stage 1: tokens: is missing"},
		{"{\"stages\": [{\"tokens\": 5}]}", "stage 1: sources: expected a list"},
		{"{\"stages\": [{\"tokens\": 5, \"sources\": [{}]}]}", "stage 1: source 1: data: is missing"},
		{"{\"stages\": [{\"tokens\": 5, \"sources\": [{\"data\": []}]}]}", "stage 1: source 1: data: expected a text, or a list"},
		{"{\"stages\": [{\"tokens\": 5, \"sources\": [{\"data\": \"a\", \"weight\": 0}]}]}", "source 1: weight: expected a number above 0"},
		{"{\"stages\": [{\"tokens\": 5, \"sources\": [{\"data\": \"a\", \"augment\": \"wild\"}]}]}", "augment: expected \"none\" or \"tint\" or \"colour\""},
		{"{\"stages\": [" STAGE "}, " STAGE ", \"name\": \"cool\", \"bacth\": 3}]}", "stage 2 (\"cool\"): bacth: no such setting"},
		{"{\"stages\": [" STAGE ", \"lr\": {\"sgd\": 1}}]}", "stage 1: lr.sgd: no such setting"}, {"{\"stages\": [" STAGE ", \"lr\": 1}]}", "stage 1: lr: expected an object"},
		{"{\"stages\": [" STAGE ", \"lr.muon\": 1}]}", "lr.muon: no such setting"}, {"{\"stages\": [" STAGE ", \"batch\": 0}]}", "batch: expected a whole number from 1 to"},
		{"{\"stages\": [" STAGE ", \"batch\": 1.5}]}", "batch: expected a whole number"}, {"{\"stages\": [" STAGE ", \"batch\": \"8\"}]}", "batch: expected a whole number"},
		{"{\"stages\": [" STAGE ", \"floor\": 2}]}", "floor: expected a number from 0 to 1"}, {"{\"stages\": [" STAGE ", \"optimiser\": \"sgd\"}]}", "optimiser: expected \"muon\" or \"adamw\""},
		{"{\"stages\": [" STAGE ", \"decay\": 2000}]}", "decay: is longer than the stage"}, {"{\"stages\": [" STAGE ", \"freeze\": [\"legs\"]}]}", "freeze: \"legs\": part \"legs\" is not one of"},
		{"{\"stages\": [" STAGE ", \"losses\": {\"types\": {\"x\": -1}}}]}", "losses.types: expected weights"},
		{"{\"stages\": [" STAGE "}], \"dev\": {\"data\": \"-\"}}", "standard input"}, {"{\"stages\": [" STAGE "}], \"seed\": -1}", "seed: expected a whole number"},
		{"{\"stages\": [" STAGE "}], \"model\": 3}", "model: expected a description"}, {"{\"stages\": [" STAGE "}], \"sead\": 1}", "sead: no such setting"},
		{"{\"stages\": [" STAGE "}], \"checkpoint\": {\"keep\": [0]}}", "checkpoint.keep: expected a whole number"},
		{"{\"stages\": [" STAGE ", \"losses\": {\"soft\": 1}}]}", "stage 1: losses.soft: there is no teacher"},
		{"{\"stages\": [" STAGE ", \"losses\": {\"match\": 1}}], \"teacher\": {\"model\": \"x\"}}", "stage 1: losses.match: there is no teacher with layers"},
		{"{\"stages\": [" STAGE "}], \"teacher\": {\"layers\": [\"1=2\"]}}", "teacher.layers: there is no teacher"},
		{"{\"stages\": [" STAGE "}], \"teacher\": {\"model\": \"x\", \"layers\": [\"1-2\"]}}", "teacher.layers: \"1-2\": expected OWN=ITS"},
		{"{\"stages\": [" STAGE "}], \"teacher\": {\"model\": \"x\", \"temperature\": 0}}", "teacher.temperature: expected a number from 0.01"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct moe_diag d = {0};
		struct moe_recipe *r;
		json_t *doc = parse(rows[i].text);
		assert_int_equal(moe_recipe_read(&r, doc, &d), MOE_EINPUT);
		if (!strstr(d.text, rows[i].says))
			fail_msg("%s\nsays: %s\nexpected: %s", rows[i].text, d.text, rows[i].says);
		json_decref(doc);
	}
}

static json_t *resolve(const char *text)
{
	struct moe_diag d = {0};
	json_t *doc = parse(text), *resolved;
	struct moe_recipe *r;

	expect_ok(&d, moe_recipe_read(&r, doc, &d));
	resolved = moe_recipe_resolved(r);
	moe_recipe_free(r);
	json_decref(doc);
	return resolved;
}

/* With a teacher half of the loss is from it, unless a stage says otherwise. */
static void test_recipe_teacher(void **state)
{
	struct moe_recipe *r;
	struct moe_diag d = {0};
	json_t *doc = parse("{\"stages\": [" STAGE "}, " STAGE ", \"losses\": {\"text\": 1, \"soft\": 0, \"match\": 0.25}}],"
			    "\"teacher\": {\"model\": \"big/model\", \"layers\": [\"1=2\", \"0=10\"]}}");

	(void)state;
	expect_ok(&d, moe_recipe_read(&r, doc, &d));
	assert_string_equal(r->teacher.model, "big/model");
	assert_true(r->teacher.temperature == 2 && r->teacher.layers.n == 2);
	assert_true(r->stage[0].text == 0.5 && r->stage[0].soft == 0.5 && r->stage[0].match == 1);
	assert_true(r->stage[1].text == 1 && r->stage[1].soft == 0 && r->stage[1].match == 0.25);
	moe_recipe_free(r);
	json_decref(doc);
	doc = parse("{\"stages\": [" STAGE "}]}");
	expect_ok(&d, moe_recipe_read(&r, doc, &d));
	assert_true(!*r->teacher.model && r->stage[0].text == 1 && r->stage[0].soft == 0 && r->stage[0].match == 0);
	moe_recipe_free(r);
	json_decref(doc);
}

static void test_recipe_same(void **state)
{
	static const struct { const char *text, *says; } rows[] = {
		{"{\"stages\": [" STAGE "}]}", NULL}, {"{\"stages\": [" STAGE "}], \"checkpoint\": {\"every\": 7, \"keep\": [5]}}", NULL},
		{"{\"stages\": [" STAGE ", \"lr\": {\"muon\": 0.5}}]}", "stages[0].lr.muon is 0.02 in the recipe that it was begun with, and 0.5 now"},
		{"{\"stages\": [" STAGE "}, " STAGE "}], \"dev\": {\"every\": 50}}", "stages is"}, {"{\"stages\": [" STAGE "}], \"model\": \"x\"}", "model is absent"},
		{"{\"stages\": [" STAGE "}], \"seed\": 2}", "seed is 1"},
	};
	json_t *was = resolve("{\"stages\": [" STAGE "}]}");

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct moe_diag d = {0};
		json_t *is = resolve(rows[i].text);
		enum moe_err err = moe_recipe_same(was, is, &d);
		if (err != (rows[i].says ? MOE_EMATCH : MOE_OK) || (err && !strstr(d.text, rows[i].says)))
			fail_msg("%s: %s", rows[i].text, d.text);
		json_decref(is);
	}
	json_decref(was);
}

/* ---- checkpoints ---- */

struct arrays {
	float weights[TOTAL], first[TOTAL], second[TOTAL];
	uint64_t steps[N];
};

static struct moe_snapshot snapshot(struct arrays *a) { return (struct moe_snapshot){&params, a->weights, a->first, a->second, a->steps, NULL}; }

static void fill(struct arrays *a)
{
	memset(a, 0, sizeof *a);
	for (size_t t = 0; t < N; t++) {
		for (size_t i = 0; i < table[t].count; i++) {
			size_t at = table[t].offset + i;
			a->weights[at] = (float)at * 0.37f - 3;
			a->first[at] = t == 1 ? 0 : 1 / (float)(at + 3);
			a->second[at] = t == 1 ? 1e-30f : 0;
		}
		a->steps[t] = 10 + t;
	}
}

static void write_one(struct arrays *a, const char *name, const char *state_text)
{
	struct moe_snapshot s = snapshot(a);
	struct moe_diag d = {0};

	s.state = parse(state_text);
	expect_ok(&d, moe_snapshot_write(in(name), &s, &d));
	json_decref(s.state);
}

static void test_snapshot(void **state)
{
	struct arrays a, b;
	struct moe_snapshot s = snapshot(&b);
	struct moe_diag d = {0};
	json_t *alone;

	(void)state;
	fill(&a);
	memset(&b, 0x55, sizeof b);
	memset(b.weights, 0, sizeof b.weights);
	write_one(&a, "good", "{\"position\": 3, \"text\": \"\\u00e4 \\\"x\\\"\", \"number\": 0.1}");
	expect_ok(&d, moe_snapshot_read(&s, in("good"), &d));
	assert_memory_equal(a.weights, b.weights, sizeof a.weights);
	assert_memory_equal(a.first, b.first, sizeof a.first);
	assert_memory_equal(a.second, b.second, sizeof a.second);
	assert_memory_equal(a.steps, b.steps, sizeof a.steps);
	assert_true(json_real_value(json_object_get(s.state, "number")) == 0.1);
	expect_ok(&d, moe_snapshot_state(&alone, in("good"), &d));
	assert_true(json_equal(alone, s.state));
	json_object_set_new(alone, "text", json_string("another, longer one"));
	expect_ok(&d, moe_snapshot_restate(in("again"), in("good"), alone, &d));
	json_decref(s.state);
	memset(&b, 0x55, sizeof b);
	expect_ok(&d, moe_snapshot_read(&s, in("again"), &d));
	assert_memory_equal(a.first, b.first, sizeof a.first);
	assert_true(json_equal(alone, s.state));
	json_decref(s.state);
	json_decref(alone);
}

/* Numbers that are not finite are not written, and the file that was there stays. */
static void test_not_finite(void **state)
{
	static const float bad[] = {NAN, INFINITY};
	struct arrays a, b;
	struct moe_snapshot s = snapshot(&a), back = snapshot(&b);
	struct moe_diag d = {0};

	(void)state;
	fill(&a);
	write_one(&a, "kept", "{}");
	for (int i = 0; i < 2; i++) {
		struct moe_diag failure = {0};
		s.state = json_object();
		(i ? a.first : a.weights)[table[2].offset + 3] = bad[i];
		assert_int_equal(moe_snapshot_write(in("kept"), &s, &failure), MOE_EINPUT);
		if (!strstr(failure.text, "c \"quoted\"\" has numbers that are not finite"))
			fail_msg("%s", failure.text);
		json_decref(s.state);
		fill(&a);
	}
	expect_ok(&d, moe_snapshot_read(&back, in("kept"), &d));
	assert_memory_equal(a.weights, b.weights, sizeof a.weights);
	json_decref(back.state);
}

/* A file cut anywhere, or with any byte changed, is refused; so is one of another model. */
static void test_snapshot_faults(void **state)
{
	struct arrays a, b;
	struct moe_snapshot s = snapshot(&b);
	struct moe_param other[N];
	struct moe_params others = {other, N, TOTAL};
	uint8_t *bytes;
	size_t n;

	(void)state;
	fill(&a);
	write_one(&a, "whole", "{\"k\": 1}");
	bytes = read_bytes(in("whole"), &n);
	for (size_t i = 0; i < n; i += i < 200 ? 7 : 41) {
		struct moe_diag d = {0};
		FILE *f = fopen(in("cut"), "wb");
		assert_true(fwrite(bytes, 1, i, f) == i && !fclose(f));
		assert_int_not_equal(moe_snapshot_read(&s, in("cut"), &d), MOE_OK);
	}
	for (size_t i = n - 4; i > n - 500; i -= 13) {          /* in the payload */
		struct moe_diag d = {0};
		FILE *f = fopen(in("changed"), "wb");
		bytes[i] ^= 1;
		assert_true(fwrite(bytes, 1, n, f) == n && !fclose(f));
		bytes[i] ^= 1;
		assert_int_equal(moe_snapshot_read(&s, in("changed"), &d), MOE_EINPUT);
		if (!strstr(d.text, "is damaged"))
			fail_msg("byte %zu: %s", i, d.text);
	}
	for (int which = 0; which < 3; which++) {
		struct moe_diag d = {0};
		memcpy(other, table, sizeof table);
		if (which == 0)
			other[1].name = "renamed";
		else if (which == 1)
			other[2].cols = 5, other[2].rows = 7;
		else
			others.n = 2;
		s.params = &others;
		assert_int_equal(moe_snapshot_read(&s, in("whole"), &d), MOE_EMATCH);
		others.n = N;
	}
	free(bytes);
}

static void test_full_disk(void **state)
{
	struct arrays a;
	struct moe_snapshot s = snapshot(&a);
	struct moe_diag d = {0};

	(void)state;
	fill(&a);
	s.state = json_object();
	assert_int_equal(moe_snapshot_write("/dev/full", &s, &d), MOE_EIO);
	json_decref(s.state);
}

static void test_position(void **state)
{
	struct moe_run_position p = {
		.step = 3, .tokens = 1ull << 40, .stage = 1, .stage_tokens = 9, .samples = 8, .failed = 7, .skipped = 6, .in_a_row = 5, .log_nbytes = 4, .ended = true, .has_data = true,
	}, q;
	struct moe_diag d = {0};
	json_t *o;

	(void)state;
	p.data.n_sources = 2;
	p.data.draws = 11;
	p.data.failed = 2;
	p.data.source[1].epoch = 2;
	p.data.source[1].draws = 5;
	p.data.source[1].total = 77;
	p.data.source[1].crc = 0xfedcba98u;
	p.data.source[1].ended = true;
	o = moe_position_value(&p);
	expect_ok(&d, moe_position_read(&q, o, &d));
	assert_memory_equal(&p, &q, sizeof p);
	json_object_set_new(o, "step", json_integer(-1));
	assert_int_equal(moe_position_read(&q, o, &d), MOE_EINPUT);
	json_decref(o);
}

/* ---- logs ---- */

static void test_log(void **state)
{
	static const char want[] = "{\"step\":1,\"tokens\":10,\"stage\":\"a\",\"loss\":0.5,\"text\":0.25,\"patch\":0,\"balance\":1,\"z\":2,\"grad_norm\":null,\"lr_muon\":0.02,\"lr_adamw\":0.003,"
				   "\"busiest\":0.5,\"skipped\":true}\n{\"dev\":true,\"step\":1,\"tokens\":10,\"choice\":\"batch:8\",\"text\":0.125,\"patch\":3,\"questions\":4,\"exact\":3,\"types\":{\"x\":[1,2],\"y\":[2,2]}}\n";
	struct moe_trainlog_step s = {.step = 1, .tokens = 10, .stage = "a", .loss = 0.5, .text = 0.25, .balance = 1, .z = 2, .grad_norm = NAN, .muon_rate = 0.02, .adamw_rate = 0.003,
				      .busiest = 0.5, .skipped = true, .rows = 10};
	const struct moe_trainlog_type types[] = {{"x", 2, 1}, {"y", 2, 2}};
	struct moe_trainlog_dev v = {
		.step = 1, .tokens = 10, .questions = 4, .exact = 3, .text = 0.125, .patch = 3, .choice = "batch:8", .type = types, .n_types = 2,
	};
	struct moe_trainlog *l, *second;
	struct moe_diag d = {0};
	uint64_t at;
	bool lost;
	uint8_t *bytes;
	size_t n;

	(void)state;
	expect_ok(&d, moe_trainlog_open(&l, in("log"), 0, &lost, &d));
	assert_int_equal(moe_trainlog_open(&second, in("log"), 0, &lost, &(struct moe_diag){0}), MOE_EIO);     /* one process at a time */
	expect_ok(&d, moe_trainlog_write_step(l, &s, &d));
	expect_ok(&d, moe_trainlog_write_dev(l, &v, &d));
	expect_ok(&d, moe_trainlog_sync(l, &at, &d));
	expect_ok(&d, moe_trainlog_write_step(l, &s, &d));
	moe_trainlog_close(l);
	assert_int_equal(at, sizeof want - 1);
	expect_ok(&d, moe_trainlog_open(&l, in("log"), at, &lost, &d));         /* what came after the checkpoint goes */
	assert_false(lost);
	moe_trainlog_close(l);
	bytes = read_bytes(in("log"), &n);
	assert_int_equal(n, at);
	assert_memory_equal(bytes, want, n);
	free(bytes);
	expect_ok(&d, moe_trainlog_open(&l, in("log"), at + 1, &lost, &d));
	assert_true(lost);
	moe_trainlog_close(l);
}

/* Lines that the disk does not take wait, and are told when they must be there. */
static void test_log_full(void **state)
{
	struct moe_trainlog_step s = {.step = 1, .stage = ""};
	struct moe_trainlog *l;
	struct moe_diag d = {0};
	uint64_t at;
	bool lost;

	(void)state;
	expect_ok(&d, moe_trainlog_open(&l, "/dev/full", 0, &lost, &d));
	expect_ok(&d, moe_trainlog_write_step(l, &s, &d));
	assert_int_equal(moe_trainlog_sync(l, &at, &d), MOE_EIO);
	moe_trainlog_close(l);
}

static char *draw(const char *log, enum moe_err want)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	struct moe_diag d = {0};

	assert_int_equal(moe_losses_print(f, log, strlen(log), "a <b> & c", &d), want);
	fclose(f);
	return text;
}

static void test_chart(void **state)
{
	static const char log[] = "{\"tokens\": 1000, \"text\": 4.5, \"patch\": 3}\n{\"tokens\": 2000, \"text\": null, \"patch\": 2}\n{\"dev\": true, \"tokens\": 2000, \"text\": 2}\n"
				  "{\"tokens\": 3000, \"text\": 2.5, \"patch\": 1}\n{\"tokens\": 40";
	char *text = draw(log, MOE_OK), *empty = draw("", MOE_OK);

	(void)state;
	assert_non_null(strstr(text, "<title>a &lt;b&gt; &amp; c</title>"));
	assert_non_null(strstr(text, ">3k</text>"));
	assert_non_null(strstr(text, "text, dev"));
	assert_non_null(strstr(text, "patches, training"));
	assert_null(strstr(text, "patches, dev"));
	assert_null(strstr(text, "nan"));
	assert_non_null(strstr(empty, "nothing to show yet"));
	free(text);
	free(empty);
	free(draw("{\"tokens\": 1}\nnonsense\n", MOE_EINPUT));
	free(draw("{\"tokens\": 5, \"text\": 1}\n", MOE_OK));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recipe_defaults), cmocka_unit_test(test_recipe_errors), cmocka_unit_test(test_recipe_teacher), cmocka_unit_test(test_recipe_same), cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_not_finite), cmocka_unit_test(test_snapshot_faults), cmocka_unit_test(test_full_disk), cmocka_unit_test(test_position),
		cmocka_unit_test(test_log), cmocka_unit_test(test_log_full), cmocka_unit_test(test_chart),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
