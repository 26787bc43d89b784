/* Tokenizers: round trips, what is refused by name, and damaged tokenizer.json files. (Ids against the reference: tests/golden.) */
#include "lib_data.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

#define READ "share/models/read/tokenizer.json"
#define OLMOE "tests/golden/olmoe/model/tokenizer.json"

static struct moe_tokenizer *load_text(const char *json)
{
	struct moe_tokenizer *t;
	struct moe_diag d = {0};
	enum moe_err err = moe_tokenizer_load(&t, json, strlen(json), &d);

	if (err)
		fail_msg("%s: %s", json, say(&d));
	return t;
}

static struct moe_tokenizer *load_file(const char *path)
{
	struct moe_tokenizer *t;
	struct moe_diag d = {0};
	size_t n;
	char *json = (char *)read_bytes(path, &n);

	expect_ok(&d, moe_tokenizer_load(&t, json, n, &d));
	free(json);     /* not kept */
	return t;
}

static struct moe_ids encode(struct moe_tokenizer *t, const char *text, size_t n)
{
	struct moe_ids ids = {0};
	struct moe_diag d = {0};
	char *tight = malloc(n + !n);

	expect_ok(&d, moe_tokenizer_encode(t, memcpy(tight, text, n), n, false, &ids, &d));
	free(tight);
	return ids;
}

static char *decode(const struct moe_tokenizer *t, const int32_t *id, size_t n_ids, bool skip, size_t *n)
{
	struct moe_diag d = {0};
	char *text = NULL;
	size_t cap = 0;

	*n = 0;
	expect_ok(&d, moe_tokenizer_decode(t, id, n_ids, skip, &text, n, &cap, &d));
	assert_int_equal(text[*n], 0);
	return text;
}

static void expect_round_trip(struct moe_tokenizer *t, const char *text, size_t n)
{
	struct moe_ids ids = encode(t, text, n);
	size_t n_back;
	char *back = decode(t, ids.id, ids.n, true, &n_back);

	if (n_back != n || memcmp(back, text, n))
		fail_msg("\"%.*s\" comes back as \"%s\"", (int)n, text, back);
	free(back);
	free(ids.id);
}

/* `want` ends with -1. */
static void expect_ids(struct moe_tokenizer *t, const char *text, const int32_t *want)
{
	struct moe_ids ids = encode(t, text, strlen(text));
	size_t n = 0;

	while (want[n] != -1)
		n++;
	if (ids.n != n || (n && memcmp(ids.id, want, n * sizeof *want)))
		fail_msg("\"%s\": %zu ids, the first %d", text, ids.n, ids.n ? (int)ids.id[0] : -1);
	free(ids.id);
}

#define IDS(...) ((const int32_t[]){__VA_ARGS__, -1})

/* ---- the character tokenizer of share/models/read ---- */

static void test_read(void **state)
{
	struct moe_tokenizer *t = load_file(READ);
	char text[4096] = "";
	size_t n;

	(void)state;
	assert_int_equal(moe_tokenizer_size(t), 100);
	for (int32_t id = 5; id < 100; id++) {
		const char *token = moe_tokenizer_token(t, id, &n);
		assert_int_equal(n, 1);
		assert_int_equal(moe_tokenizer_find(t, token, n), id);
		assert_false(moe_tokenizer_special(t, id));
		strncat(text, token, n);
		expect_round_trip(t, token, n);
	}
	assert_int_equal(strlen(text), 95);     /* printable ASCII */
	expect_round_trip(t, text, strlen(text));
	expect_round_trip(t, "", 0);
	expect_ids(t, "A!", IDS(38, 6));
	moe_tokenizer_free(t);
}

static void test_read_specials(void **state)
{
	struct moe_tokenizer *t = load_file(READ);
	static const char *const names[] = {"<pad>", "<read>", "<image>", "<unk>", "<eos>"};
	size_t n;
	char *text;

	(void)state;
	for (int32_t id = 0; id < 5; id++) {
		assert_true(moe_tokenizer_special(t, id));
		assert_int_equal(moe_tokenizer_find(t, names[id], strlen(names[id])), id);
		const char *token = moe_tokenizer_token(t, id, &n);
		assert_int_equal(n, strlen(names[id]));
		assert_memory_equal(token, names[id], n);
	}
	expect_ids(t, "<image>a<eos>", IDS(2, 70, 4));
	expect_ids(t, "<image", IDS(33, 78, 82, 70, 76, 74));
	expect_ids(t, "<<read><", IDS(33, 1, 33));
	text = decode(t, IDS(2, 70, 4), 3, true, &n);
	assert_string_equal(text, "a");
	free(text);
	text = decode(t, IDS(2, 70, 4), 3, false, &n);
	assert_string_equal(text, "<image>a<eos>");
	free(text);
	moe_tokenizer_free(t);
}

/* A character that the vocabulary lacks is <unk>; an id that it lacks gives nothing. */
static void test_read_unknown(void **state)
{
	struct moe_tokenizer *t = load_file(READ);
	size_t n;
	char *text;

	(void)state;
	expect_ids(t, "a\xc3\xa9" "b", IDS(70, 3, 71));
	expect_ids(t, "\n", IDS(3));
	expect_ids(t, "\xf0\x9f\x98\x80\xe2\x82\xac", IDS(3, 3));
	assert_null(moe_tokenizer_token(t, 100, &n));
	assert_null(moe_tokenizer_token(t, -1, &n));
	assert_null(moe_tokenizer_token(t, INT32_MIN, &n));
	assert_null(moe_tokenizer_token(t, INT32_MAX, &n));
	assert_false(moe_tokenizer_special(t, INT32_MAX));
	assert_false(moe_tokenizer_special(t, -1));
	assert_int_equal(moe_tokenizer_find(t, "ab", 2), -1);
	assert_int_equal(moe_tokenizer_find(t, "", 0), -1);
	text = decode(t, IDS(70, 100, -7, INT32_MAX, INT32_MIN, 71), 6, false, &n);
	assert_string_equal(text, "ab");
	free(text);
	moe_tokenizer_free(t);
}

/* ---- text that is not UTF-8 is refused at its first wrong byte ---- */

static void test_bad_utf8(void **state)
{
	static const char *const good[] = {"", "a", "ab", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "a\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80z",
		"\xe2\x82\xac\xe2\x82\xac",
					   "abc\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80xyz"};
	static const char *const bad[] = {"\xff", "\x80", "\xc3", "\xc0\x80", "\xe2\x82", "\xed\xa0\x80", "\xf0\x9f\x98", "\xf4\x90\x80\x80"};
	static const char *const behind[] = {"", "a", "\xc3\xa9", "\xf0\x9f\x98\x80", "\xff", "a long text of plain letters"};
	struct moe_tokenizer *t = load_file(READ);
	char text[64];

	(void)state;
	for (size_t g = 0; g < sizeof good / sizeof *good; g++)
		for (size_t b = 0; b < sizeof bad / sizeof *bad; b++)
			for (size_t a = 0; a < sizeof behind / sizeof *behind; a++) {
				struct moe_ids ids = {0};
				struct moe_diag d = {0};
				enum moe_err err;
				snprintf(text, sizeof text, "%s%s%s", good[g], bad[b], behind[a]);
				err = moe_tokenizer_encode(t, text, strlen(text), false, &ids, &d);
				free(ids.id);
				expect_fail(&d, err, MOE_EINPUT, "not UTF-8");
				if (d.byte != (int64_t)strlen(good[g]))
					fail_msg("%zu bytes are good, then comes byte %02x: byte %lld is named", strlen(good[g]), (unsigned char)bad[b][0],
						 (long long)d.byte);
			}
	moe_tokenizer_free(t);
}

/* ---- the byte-level tokenizer of tests/golden/olmoe ---- */

static size_t put_utf8(char *to, unsigned c)
{
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (size_t i = n; i-- > 1; c >>= 6)
		to[i] = (char)(0x80 | (c & 0x3f));
	to[0] = (char)(n == 1 ? c : (0xf00u >> n & 0xff) | c);
	return n;
}

static void test_bytes_round_trip(void **state)
{
	struct moe_tokenizer *t = load_file(OLMOE);
	uint64_t random = 11;
	char text[400];

	(void)state;
	for (unsigned i = 0; i < (SLOW ? 500 : 5000); i++) {
		size_t n = 0, length = next_random(&random) % 80;
		unsigned top = (unsigned[]){0x80, 0x800, 0x10000, 0x110000}[i % 4];
		while (length--) {
			unsigned c = (unsigned)(next_random(&random) % top);
			n += put_utf8(text + n, c >= 0xd800 && c < 0xe000 ? ' ' : c);
		}
		expect_round_trip(t, text, n);
	}
	expect_round_trip(t, "a\0b\0", 4);
	strcpy(text, "  two  spaces \n\n\t x'll DON'T 123 \xe3\x80\x80");
	expect_round_trip(t, text, strlen(text));
	moe_tokenizer_free(t);
}

/* Every byte has a token of its own; alone, half a character becomes U+FFFD. */
static void test_every_byte(void **state)
{
	struct moe_tokenizer *t = load_file(OLMOE);
	int32_t byte_id[256], c[4];
	size_t n, n_single = 0;
	char *text;

	(void)state;
	for (int32_t id = 0; id < (int32_t)moe_tokenizer_size(t); id++) {
		const char *token = moe_tokenizer_token(t, id, &n);
		unsigned char first = token ? (unsigned char)*token : 0;
		n_single += token && n == (first < 0x80 ? 1u : 2u) && !moe_tokenizer_special(t, id) && n_single < 256;
	}
	assert_true(n_single >= 256);
	for (unsigned b = 0; b < 128; b++) {    /* a character below U+0080 is one byte, of the others below U+0100 the second byte is free */
		char one = (char)b, two[2] = {(char)0xc2, (char)(0x80 + b % 64)};
		struct moe_ids ids = encode(t, &one, 1);
		assert_int_equal(ids.n, 1);
		byte_id[b] = ids.id[0];
		free(ids.id);
		expect_round_trip(t, two, 2);
	}
	for (unsigned a = 0; a < 128; a++)
		for (unsigned b = 0; b < a; b++)
			assert_int_not_equal(byte_id[a], byte_id[b]);
	struct moe_ids face = encode(t, "\xf0\x9f\x98\x80", 4);
	for (size_t i = 0; i < face.n && i < 4; i++)
		c[i] = face.id[i];
	assert_true(face.n > 1);
	text = decode(t, c, 1, true, &n);
	assert_string_equal(text, "\xef\xbf\xbd");
	free(text);
	free(face.id);
	moe_tokenizer_free(t);
}

/* Appends to what is there. */
static void test_append(void **state)
{
	struct moe_tokenizer *t = load_file(READ);
	struct moe_ids ids = {0};
	struct moe_diag d = {0};
	char *text = NULL;
	size_t n = 0, cap = 0;

	(void)state;
	for (int i = 0; i < 300; i++)
		expect_ok(&d, moe_tokenizer_encode(t, "ab", 2, true, &ids, &d));
	assert_int_equal(ids.n, 600);
	assert_int_equal(ids.id[599], 71);
	for (int i = 0; i < 300; i++)
		expect_ok(&d, moe_tokenizer_decode(t, ids.id, 2, true, &text, &n, &cap, &d));
	assert_int_equal(n, 600);
	assert_int_equal(strlen(text), 600);
	free(text);
	free(ids.id);
	moe_tokenizer_free(t);
}

/* A megabyte of one letter: no square of its length. */
static void test_long_text(void **state)
{
	struct moe_tokenizer *t = load_file(OLMOE);
	size_t n = SLOW ? 100000 : 1000000;
	char *text = malloc(n);

	(void)state;
	memset(text, 'a', n);
	expect_round_trip(t, text, n);
	memset(text, ' ', n);
	expect_round_trip(t, text, n);
	free(text);
	moe_tokenizer_free(t);
}

/* ---- small tokenizers ---- */

#define MODEL(options) \
	"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"abb\":3,\"<unk>\":4}," options "\"merges\":[\"a b\",[\"ab\",\"b\"]]}"
#define WITH(part) "{" part "," MODEL("") "}"
#define ADDED(options) WITH("\"added_tokens\":[{\"id\":4,\"content\":\"<unk>\",\"special\":true}," options "]")

static void test_merges(void **state)
{
	struct moe_tokenizer *t = load_text("{" MODEL("") "}");
	struct moe_ids ids = {0};
	struct moe_diag d = {0};

	(void)state;
	expect_ids(t, "abb", IDS(3));
	expect_ids(t, "aabbb", IDS(0, 3, 1));
	expect_ids(t, "abab", IDS(2, 2));
	expect_ids(t, "ba", IDS(1, 0));
	expect_fail(&d, moe_tokenizer_encode(t, "abc", 3, false, &ids, &d), MOE_EINPUT, "no token for \"c\", and none for the unknown");
	free(ids.id);
	moe_tokenizer_free(t);
	t = load_text("{" MODEL("\"unk_token\":\"<unk>\",") "}");
	expect_ids(t, "abc", IDS(2, 4));
	moe_tokenizer_free(t);
	t = load_text("{\"model\":{\"merges\":[\"a b\"],\"vocab\":{\"ab\":2,\"b\":1,\"a\":0,\"aab\":7},\"ignore_merges\":true,\"type\":\"BPE\"}}");
	expect_ids(t, "aab", IDS(7));
	expect_ids(t, "aaab", IDS(0, 0, 2));
	assert_int_equal(moe_tokenizer_size(t), 8);
	moe_tokenizer_free(t);
}

/* The pair of the lowest rank is joined first, wherever it stands; of equal ones the leftmost. */
static void test_ranks(void **state)
{
	struct moe_tokenizer *t = load_text("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,"
					    "\"bc\":3,\"ab\":4,\"abc\":5,\"aa\":6,\"bca\":7},"
					    "\"merges\":[\"b c\",\"a b\",\"ab c\",\"a a\",\"bc a\"]}}");

	(void)state;
	expect_ids(t, "abc", IDS(0, 3));        /* not "abc", which no merge reaches from here */
	expect_ids(t, "abb", IDS(4, 1));
	expect_ids(t, "aaa", IDS(6, 0));
	expect_ids(t, "aaaa", IDS(6, 6));
	expect_ids(t, "bcaa", IDS(3, 6));
	expect_ids(t, "bcab", IDS(3, 4));
	expect_ids(t, "bca", IDS(7));
	moe_tokenizer_free(t);
}

/* Leftmost, then longest. */
static void test_added(void **state)
{
	struct moe_tokenizer *t = load_text(ADDED("{\"id\":9,\"content\":\"ab<\",\"special\":false},"
						  "{\"id\":2,\"content\":\"ab\"},{\"id\":7,\"content\":\"<u\"}"));

	(void)state;
	expect_ids(t, "ab<", IDS(9));           /* not "ab" */
	expect_ids(t, "b<unk>", IDS(1, 4));     /* not "<u" */
	expect_ids(t, "aab<ab<bab", IDS(0, 9, 9, 1, 2));        /* "ab<" begins before "<u" */
	moe_tokenizer_free(t);
}

/* Unknown characters in a row are one token where fuse_unk says so, each its own where not. */
static void test_fuse_unknown(void **state)
{
	struct moe_tokenizer *t = load_text("{" MODEL("\"unk_token\":\"<unk>\",\"fuse_unk\":true,") "}");

	(void)state;
	expect_ids(t, "xyza\xc3\xa9z", IDS(4, 0, 4));
	expect_ids(t, "x", IDS(4));
	moe_tokenizer_free(t);
	t = load_text("{" MODEL("\"unk_token\":\"<unk>\",") "}");
	expect_ids(t, "xya", IDS(4, 4, 0));
	moe_tokenizer_free(t);
}

#define SPLIT(regex, options) "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"}," options "}"

/* Removed and inverted: the matches stay, what lies between them goes. */
static void test_split_removed(void **state)
{
	struct moe_tokenizer *t = load_text(WITH(SPLIT("b+", "\"behavior\":\"Removed\",\"invert\":true")));

	(void)state;
	expect_ids(t, "abbab", IDS(1, 1, 1));
	expect_ids(t, "aa", IDS(-1));
	moe_tokenizer_free(t);
	t = load_text(WITH(SPLIT("b+", "\"behavior\":\"Isolated\"")));
	expect_ids(t, "abbab", IDS(0, 1, 1, 0, 1));
	moe_tokenizer_free(t);
}

static void test_no_decoder(void **state)
{
	struct moe_tokenizer *t = load_text("{" MODEL("") "}");
	struct moe_diag d = {0};
	char *text = NULL;
	size_t n = 0, cap = 0;

	(void)state;
	expect_fail(&d, moe_tokenizer_decode(t, IDS(0), 1, false, &text, &n, &cap, &d), MOE_EINPUT, "tokenizer.json has no decoder");
	free(text);
	moe_tokenizer_free(t);
}

#define BYTES9 BYTES3 "," BYTES3 "," BYTES3
#define BYTES3 "{\"type\":\"ByteLevel\"},{\"type\":\"ByteLevel\"},{\"type\":\"ByteLevel\"}"
#define NEST3 NEST NEST NEST
#define NEST "{\"type\":\"Sequence\",\"pretokenizers\":["
#define NESTED9 NEST3 NEST3 NEST3 "]}]}]}]}]}]}]}]}]}"
#define SEQUENCE(part, list, ...) WITH("\"" part "\":{\"type\":\"Sequence\",\"" list "\":[" __VA_ARGS__ "]}")
#define TEMPLATE(single, special) WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":" single ",\"special_tokens\":" special "}")
#define VOCAB(vocab, merges) "{\"model\":{\"vocab\":" vocab ",\"merges\":" merges "}}"

static void test_refused(void **state)
{
	static const struct { const char *json, *part; } cases[] = {
		{"{\"model\":{\"type\":\"Unigram\",\"vocab\":{}}}", "model type \"Unigram\" is not supported: only BPE is"},
		{"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", "model type \"WordPiece\" is not supported: only BPE is"},
		{"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{}}}", "model type \"WordLevel\" is not supported: only BPE is"},
		{"{\"model\":{\"type\":7,\"vocab\":{}}}", "model.type must be a string"},
		{"{" MODEL("\"dropout\":0.1,") "}", "model option \"dropout\" is not supported"},
		{"{" MODEL("\"continuing_subword_prefix\":\"##\",") "}", "\"continuing_subword_prefix\" is not supported"},
		{"{" MODEL("\"end_of_word_suffix\":\"</w>\",") "}", "\"end_of_word_suffix\" is not supported"},
		{"{" MODEL("\"tomorrow\":true,") "}", "model option \"tomorrow\" is not supported"},
		{"{" MODEL("\"unk_token\":\"c\",") "}", "model.unk_token \"c\" is not in the vocabulary"},
		{"{" MODEL("\"unk_token\":1,") "}", "model.unk_token must be a string"},
		{"{" MODEL("\"fuse_unk\":1,") "}", "model.fuse_unk must be true or false"},
		{"{" MODEL("\"byte_fallback\":\"no\",") "}", "model.byte_fallback must be true or false"},
		{"{" MODEL("\"ignore_merges\":null,") "}", "model.ignore_merges must be true or false"},
		{ADDED("{\"id\":5,\"content\":\"x\",\"lstrip\":1}"), "added_tokens: lstrip must be true or false"},
		{ADDED("{\"id\":5,\"content\":\"x\",\"tomorrow\":true}"), "added token option \"tomorrow\" is not supported"},
		{ADDED("{\"id\":5,\"content\":7}"), "added_tokens: content must be a string"},
		{ADDED("7"), "an element of added_tokens must be an object"}, {WITH("\"added_tokens\":{}"), "added_tokens must be an array"},
		{ADDED("{\"id\":5,\"content\":\"\"}"), "an added token needs"}, {ADDED("{\"content\":\"x\"}"), "an added token needs"},
		{ADDED("{\"id\":5}"), "an added token needs"}, {ADDED("{\"id\":-1,\"content\":\"x\"}"), "added_tokens: id must be a whole number"},
		{ADDED("{\"id\":1.5,\"content\":\"x\"}"), "unsigned integer"},
		{ADDED("{\"id\":16777216,\"content\":\"x\"}"), "the id 16777216 of \"x\" is above"},
		{ADDED("{\"id\":16777215,\"content\":\"x\"}"), "larger than a file of this size can have"},
		{ADDED("{\"id\":5,\"content\":\"x\"},{\"id\":6,\"content\":\"x\"}"), "the added token \"x\" has two ids"},
		{ADDED("{\"id\":5,\"content\":\"ab\"}"), "the added token \"ab\" has two ids, 5 and 2"},
		{ADDED("{\"id\":4,\"content\":\"x\"}"), "two tokens have the same id, 4: \"<unk>\" and \"x\""},
		{WITH("\"added_tokens\":[{\"id\":5,\"content\":\" \"}],\"normalizer\":{\"type\":\"Strip\",\"strip_left\":true}"), "the normalizer leaves nothing"},
		{WITH("\"normalizer\":7"), "normalizer must be an object"}, {WITH("\"normalizer\":{}"), "normalizer: an object without a type"},
		{WITH("\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"\"}"), "normalizer \"Precompiled\" is not supported"},
		{WITH("\"normalizer\":{\"type\":\"BertNormalizer\",\"lowercase\":true}"), "normalizer \"BertNormalizer\" is not supported"},
		{WITH("\"normalizer\":{\"type\":\"NFC\",\"tomorrow\":1}"), "normalizer option \"tomorrow\" is not supported"},
		{WITH("\"normalizer\":{\"type\":\"Prepend\",\"prepend\":7}"), "normalizer: prepend must be a string"},
		{WITH("\"normalizer\":{\"type\":\"Replace\",\"content\":\"x\"}"), "normalizer: Replace without a pattern"},
		{WITH("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"x\"}"), "normalizer: pattern is empty"},
		{WITH("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Glob\":\"*\"},\"content\":\"x\"}"), "pattern must be a Regex or a String"},
		{WITH("\"normalizer\":{\"type\":\"Strip\",\"strip_left\":1}"), "normalizer: strip_left must be true or false"},
		{SEQUENCE("normalizer", "normalizers", "{\"type\":\"NFC\"},{\"type\":\"Nmt\"}"), "normalizer \"Nmt\" is not supported"},
		{WITH("\"normalizer\":{\"type\":\"Sequence\"}"), "normalizer: a Sequence without its list"},
		{WITH("\"normalizer\":{\"type\":\"NFC\"},\"normalizer\":{\"type\":\"NFC\"}"), "normalizer stands twice"},
		{WITH("\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}"), "pre_tokenizer \"BertPreTokenizer\" is not supported"},
		{WITH("\"pre_tokenizer\":{\"type\":\"Metaspace\"}"), "replacement of Metaspace must be one character"},
		{WITH("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"__\"}"), "replacement of Metaspace must be one character"},
		{WITH("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"x\"}"), "prepend_scheme \"x\" is not supported"},
		{WITH("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"add_prefix_space\":false}"), "add_prefix_space is false, but"},
		{SEQUENCE("pre_tokenizer", "pretokenizers", "{\"type\":\"UnicodeScripts\"}"), "pre_tokenizer \"UnicodeScripts\" is not supported"},
		{WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\" \"},\"behavior\":\"Sometimes\"}"),
		 "pre_tokenizer behavior \"Sometimes\" is not supported"},
		{WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\" \"}}"), "Split without a behavior"},
		{WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\"}"), "Split without a pattern"},
		{WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":\" \",\"behavior\":\"Isolated\"}"), "pre_tokenizer: pattern must be an object"},
		{SEQUENCE("pre_tokenizer", "pretokenizers", BYTES9 "," BYTES9), "pre_tokenizer: more than 16 steps"},
		{WITH("\"pre_tokenizer\":" NESTED9), "Sequences nested deeper than 8"},
		{WITH("\"post_processor\":{\"type\":\"BertProcessing\"}"), "post_processor \"BertProcessing\" is not supported"},
		{WITH("\"post_processor\":{\"type\":\"TemplateProcessing\"}"), "TemplateProcessing without single"},
		{TEMPLATE("[]", "{}"), "single lacks the sequence A"}, {TEMPLATE("7", "{}"), "post_processor: single must be an array"},
		{TEMPLATE("[{\"Sequence\":{\"id\":\"B\"}}]", "{}"), "must have the sequence A once"},
		{TEMPLATE("[{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}}]", "{}"), "must have the sequence A once"},
		{TEMPLATE("[{\"Other\":{\"id\":\"A\"}}]", "{}"), "must be a SpecialToken or a Sequence"},
		{TEMPLATE("[{\"Sequence\":{}}]", "{}"), "without an id"},
		{TEMPLATE("[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}]", "{}"), "\"<s>\" of the template is not in special_tokens"},
		{TEMPLATE("[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}]", "{\"<s>\":{\"ids\":[9]}}"), "no token has the id 9"},
		{TEMPLATE("[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}]", "{\"<s>\":{\"ids\":[99999999]}}"), "99999999 is above"},
		{WITH("\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\"}"), "decoder \"WordPiece\" is not supported"},
		{SEQUENCE("decoder", "decoders", "{\"type\":\"Fuse\"},{\"type\":\"Strip\"}"), "decoder: Strip needs one character"},
		{SEQUENCE("decoder", "decoders", "{\"type\":\"CTC\"}"), "decoder \"CTC\" is not supported"},
		{WITH("\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":-1}"), "decoder: start must be a whole number"},
		{"{}", "there is no model"}, {"[]", "the file must be an object"}, {"", "the file must be an object"}, {"{\"model\":null}", "model must be an object"},
		{"{" MODEL("") "," MODEL("") "}", "model stands twice"},
		{VOCAB("{\"a\":0,\"a\":0}", "[]"), "\"a\" stands twice in the vocabulary"}, {VOCAB("{\"a\":0,\"a\":1}", "[]"), "stands twice in the vocabulary"},
		{VOCAB("{\"a\":0,\"b\":0}", "[]"), "two tokens have the same id, 0: \"a\" and \"b\""},
		{VOCAB("{\"a\":-1}", "[]"), "an id in model.vocab must be a whole number"}, {VOCAB("{\"a\":16777216}", "[]"), "is above"},
		{VOCAB("[\"a\"]", "[]"), "model.vocab must be an object"}, {VOCAB("{\"a\":0,\"aa\":1}", "{}"), "model.merges must be an array"},
		{VOCAB("{\"a\":0,\"aa\":1}", "[\"a a\",\"a a\"]"), "a merge stands twice, at the end as merge 1"},
		{VOCAB("{\"a\":0}", "[\"a a\"]"), "merge 0 joins \"a\" and \"a\", but what they make is not in the vocabulary"},
		{VOCAB("{\"a\":0,\"ba\":1}", "[\"b a\"]"), "but the first is not in the vocabulary"},
		{VOCAB("{\"a\":0,\"ab\":1}", "[\"a b\"]"), "but the second is not in the vocabulary"},
		{VOCAB("{\"a\":0}", "[\"a\"]"), "the merge \"a\" must have two parts"}, {VOCAB("{\"a\":0}", "[\"a  a\"]"), "must have two parts"},
		{VOCAB("{\"a\":0,\"\":1}", "[\" a\"]"), "a part of merge 0 is empty"}, {VOCAB("{\"a\":0,\"\":1}", "[[\"a\",\"\"]]"), "a part of merge 0 is empty"},
		{VOCAB("{\"a\":0}", "[[\"a\"]]"), "two parts"}, {VOCAB("{\"a\":0}", "[[\"a\",\"a\",\"a\"]]"), "two parts"},
		{VOCAB("{\"a\":0}", "[1]"), "a merge in model.merges must be a string"}, {VOCAB("{\"a\":0}", "[[1,2]]"), "a part of a merge"},
		{"{\"model\":{\"vocab\":{},\"merges\":[\"a b\"]}}", "no vocabulary"},
		{"{\"model\":{\"merges\":[\"a b\"]}}", "no vocabulary"}, {"{\"model\":{}}", "no vocabulary"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct moe_tokenizer *t;
		struct moe_diag d = {0};
		enum moe_err err = moe_tokenizer_load(&t, cases[i].json, strlen(cases[i].json), &d);
		if (err != MOE_EINPUT || !strstr(d.text, cases[i].part) || d.byte > (int64_t)strlen(cases[i].json)) {
			print_error("%s\n", cases[i].json);
			expect_fail(&d, err, MOE_EINPUT, cases[i].part);
			fail();
		}
	}
}

/* A pattern that is wrong is refused with its place, one that is too hard for PCRE2 is an error of the text. */
static void test_patterns(void **state)
{
	static const struct { const char *regex, *part; } cases[] = {{"(", "the pattern is wrong at 1"}, {"[b-a]", "the pattern is wrong at"},
		{"(a|aa)+$", "too hard"}, {"\\\\C", "\\C is not supported"}, {"\\\\K", "\\K is not supported"}, {"(*ACCEPT)", "kind of group"}, {"(?R)", "kind of group"},
		{"a)", ") without ("}, {"*a", "nothing to repeat"}, {"[a", "] expected"}, {"[[[a]]]", "a class inside a class inside a class"},
		{"\\\\p{Nonsense}", "property \"Nonsense\" is not known"}, {"\\\\p{L", "} expected"}, {"\\\\x{110000}", "hexadecimal"}, {"[&&a]", "empty class"}};
	char json[1000], text[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab";

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct moe_tokenizer *t;
		struct moe_ids ids = {0};
		struct moe_diag d = {0};
		snprintf(json, sizeof json,
			"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"%s\"},\"behavior\":\"Isolated\"}," MODEL("") "}", cases[i].regex);
		enum moe_err err = moe_tokenizer_load(&t, json, strlen(json), &d);
		if (!err) {
			err = moe_tokenizer_encode(t, text, sizeof text - 1, false, &ids, &d);
			moe_tokenizer_free(t);
			free(ids.id);
		}
		expect_fail(&d, err, MOE_EINPUT, cases[i].part);
	}
}

/* ---- damage ---- */

static const char whole[] = "{\"version\":\"1.0\","
	"\"added_tokens\":[{\"id\":4,\"content\":\"<unk>\",\"single_word\":false,\"lstrip\":false,\"special\":true}],"
	"\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}]},\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
	"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{N}{1,3}\"},\"behavior\":\"Isolated\",\"invert\":false},"
	"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}]},"
	"\"post_processor\":{\"type\":\"ByteLevel\"},\"decoder\":{\"type\":\"ByteLevel\"},"
	MODEL("\"dropout\":null,\"unk_token\":\"<unk>\",\"fuse_unk\":false,\"byte_fallback\":false,") "}";

static void test_truncated(void **state)
{
	struct moe_tokenizer *t;

	(void)state;
	moe_tokenizer_free(load_text(whole));
	for (size_t n = 0; n < sizeof whole - 1; n++) {
		char *cut = malloc(n + !n);
		struct moe_diag d = {0};
		enum moe_err err = moe_tokenizer_load(&t, memcpy(cut, whole, n), n, &d);
		free(cut);
		if (err != MOE_EINPUT || !d.text[0] || d.byte > (int64_t)n)
			fail_msg("cut at %zu: %d %s", n, (int)err, say(&d));
	}
}

/* A file that is accepted encodes without a crash, or says what it lacks. */
static void use(struct moe_tokenizer *t)
{
	static const char input[] = "abba 12345 <unk>\xc3\xa9 ab";
	struct moe_ids ids = {0};
	struct moe_diag d = {0};
	char *text = NULL;
	size_t n = 0, cap = 0;

	if (!moe_tokenizer_encode(t, input, sizeof input - 1, false, &ids, &d)) {
		for (size_t i = 0; i < ids.n; i++)
			assert_true(ids.id[i] >= 0 && (size_t)ids.id[i] < moe_tokenizer_size(t));
		if (moe_tokenizer_decode(t, ids.id, ids.n, false, &text, &n, &cap, &d))
			assert_non_null(strstr(say(&d), "has no decoder"));
	}
	free(text);
	free(ids.id);
	moe_tokenizer_free(t);
}

static void test_mutated(void **state)
{
	uint64_t random = 13;
	unsigned n_good = 0, runs = SLOW ? 2000 : 20000;

	(void)state;
	for (unsigned i = 0; i < runs; i++) {
		uint8_t *p = malloc(2 * sizeof whole);
		struct moe_tokenizer *t;
		struct moe_diag d = {0};
		size_t n = sizeof whole - 1;
		memcpy(p, whole, n);
		n = mutate(p, n, 2 * sizeof whole, &random);
		p = realloc(p, n + !n);
		if (!moe_tokenizer_load(&t, (char *)p, n, &d)) {
			n_good++;
			use(t);
		} else if (!d.text[0] || d.byte > (int64_t)n) {
			fail_msg("mutation %u: %s", i, say(&d));
		}
		free(p);
	}
	assert_in_range(n_good, runs / 100, runs / 2);
}

/* ---- text id by id ---- */

#define SP_DECODER "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"},\"content\":\" \"}," \
	"{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}"
#define SP_MODEL "\"model\":{\"vocab\":{\"a\":0,\"_\":1,\"<0xE2>\":2,\"<0x82>\":3,\"<0xAC>\":4,\"<0xFF>\":5,\"\xc3\xa9\":6},\"merges\":[],\"byte_fallback\":true}"

/* Pushes the ids (-1 ends them) and finishes; each step gives what `want` says for it. */
static void expect_steps(struct moe_text_stream *s, const int32_t *id, const char *const *want)
{
	struct moe_diag d = {0};
	const char *text;
	size_t n;

	for (; *id != -1; id++, want++) {
		expect_ok(&d, moe_text_stream_push(s, *id, &text, &n, &d));
		assert_string_equal(text, *want);
		assert_int_equal(n, strlen(*want));
	}
	expect_ok(&d, moe_text_stream_finish(s, &text, &n, &d));
	assert_string_equal(text, *want);
}

#define STEPS(...) ((const char *const[]){__VA_ARGS__})
#define FFFD "\xef\xbf\xbd"

/* A run of bytes waits for its end, unless it is broken already; the space at the very beginning goes. */
static void test_stream_fallback(void **state)
{
	struct moe_tokenizer *t = load_text("{" SP_DECODER "," SP_MODEL "}");
	struct moe_text_stream *s;
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_text_stream_new(&s, t, true, &d));
	expect_steps(s, IDS(1, 1, 0), STEPS("", " ", "a", ""));
	expect_steps(s, IDS(2, 3, 4, 0), STEPS("", "", "", "\xe2\x82\xac" "a", ""));    /* anew: a stream can be used again */
	expect_steps(s, IDS(2, 3, 4, 2), STEPS("", "", "", "", FFFD FFFD FFFD FFFD));
	expect_steps(s, IDS(2, 3, 5, 4, 0), STEPS("", "", FFFD FFFD FFFD, FFFD, "a", ""));
	expect_steps(s, IDS(6, 99, -2, 6), STEPS("\xc3\xa9", "", "", "\xc3\xa9", ""));
	moe_text_stream_free(s);
	moe_tokenizer_free(t);
}

/* Bytes wait until their character is complete or certain to be broken. */
static void test_stream_bytes(void **state)
{
	struct moe_tokenizer *t = load_text("{\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"vocab\":{\"a\":0,\"\xc3\xa2\":1,\"\xc4\xa4\":2,"
					    "\"\xc2\xac\":3,\"\xc3\xbf\":4},\"merges\":[]}}");       /* e2, 82, ac, ff */
	struct moe_text_stream *s;
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_text_stream_new(&s, t, true, &d));
	expect_steps(s, IDS(1, 2, 3, 0), STEPS("", "", "\xe2\x82\xac", "a", ""));
	expect_steps(s, IDS(1, 2, 0, 4, 1), STEPS("", "", FFFD "a", FFFD, "", FFFD));
	expect_steps(s, IDS(-2), STEPS("", ""));
	moe_text_stream_free(s);
	moe_tokenizer_free(t);
}

/* Behind a Fuse, what could be the beginning of a match waits, and so does what a Strip may take from the end. */
static void test_stream_held(void **state)
{
	struct moe_tokenizer *t = load_text("{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"Replace\",\"pattern\":"
					    "{\"String\":\"a_a\"},\"content\":\"+\"},{\"type\":\"Strip\",\"content\":\"_\",\"start\":0,\"stop\":2}]}," SP_MODEL "}");
	struct moe_text_stream *s;
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_text_stream_new(&s, t, false, &d));
	expect_steps(s, IDS(0, 1, 0, 1, 0), STEPS("", "", "+", "", "", "_a"));
	expect_steps(s, IDS(0, 1, 1, 0), STEPS("", "", "a", "", "__a"));
	expect_steps(s, IDS(1, 1, 1, 1), STEPS("", "", "_", "_", ""));
	moe_text_stream_free(s);
	moe_tokenizer_free(t);
}

static void test_stream_refused(void **state)
{
	struct moe_tokenizer *t = load_text("{" MODEL("") "}");
	struct moe_text_stream *s;
	struct moe_diag d = {0};

	(void)state;
	expect_fail(&d, moe_text_stream_new(&s, t, true, &d), MOE_EINPUT, "has no decoder");
	moe_text_stream_free(NULL);
	moe_tokenizer_free(t);
}

/* ---- parts, by hand (all of them against the reference: tests/golden) ---- */

static void test_template(void **state)
{
	struct moe_tokenizer *t = load_text("{\"post_processor\":{\"type\":\"Sequence\",\"processors\":["
		"{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}},{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"x\":{\"ids\":[3,2]}}},"
		"{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}},{\"Sequence\":{\"id\":\"A\"}},{\"SpecialToken\":{\"id\":\"x\"}}],"
		"\"special_tokens\":{\"x\":{\"ids\":[4]}}}]}," MODEL("") "}");
	struct moe_ids ids = {0};
	struct moe_diag d = {0};

	(void)state;
	expect_ids(t, "a", IDS(0));
	expect_ok(&d, moe_tokenizer_encode(t, "a", 1, true, &ids, &d));
	assert_int_equal(ids.n, 5);
	assert_memory_equal(ids.id, IDS(4, 3, 2, 0, 4), 5 * sizeof *ids.id);
	free(ids.id);
	moe_tokenizer_free(t);
}

/* A byte whose character the vocabulary lacks falls back to the two bytes of that character: more symbols than bytes. */
static void test_bytes_fall_back(void **state)
{
	struct moe_tokenizer *t = load_text("{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false},"
		"\"model\":{\"vocab\":{\"<0xC4>\":0,\"<0xA0>\":1},\"merges\":[],\"byte_fallback\":true}}");

	(void)state;
	expect_ids(t, "    ", IDS(0, 1, 0, 1, 0, 1, 0, 1));
	moe_tokenizer_free(t);
}

/* Every kind takes a quarter of a megabyte of the same character, in time that does not grow with its square. */
static void test_long_runs(void **state)
{
	static const char *const kinds[] = {"gpt2", "llama3", "qwen2", "deepseek3", "o200k", "aria", "gemma", "metaspace"};
	static const char *const runs[] = {"a", " ", "\n", "A", "1", ".", "\xe6\xbc\xa2", "\xcc\x81\xcc\x96", " \n", "aB", "'s"};
	size_t size = SLOW ? 1 << 14 : 1 << 18;
	char path[256], *text = malloc(size + 8);

	(void)state;
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		snprintf(path, sizeof path, "tests/golden/tokenizers/%s/tokenizer.json", kinds[k]);
		struct moe_tokenizer *t = load_file(path);
		for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
			size_t n = 0;
			struct moe_ids ids;
			while (n < size) {
				memcpy(text + n, runs[r], strlen(runs[r]));
				n += strlen(runs[r]);
			}
			ids = encode(t, text, n);
			assert_true(ids.n > 0);
			free(ids.id);
		}
		moe_tokenizer_free(t);
	}
	free(text);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read), cmocka_unit_test(test_read_specials), cmocka_unit_test(test_read_unknown), cmocka_unit_test(test_bad_utf8),
		cmocka_unit_test(test_bytes_round_trip), cmocka_unit_test(test_every_byte), cmocka_unit_test(test_append),
		cmocka_unit_test(test_long_text),
		cmocka_unit_test(test_merges), cmocka_unit_test(test_ranks), cmocka_unit_test(test_added), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_fuse_unknown), cmocka_unit_test(test_split_removed), cmocka_unit_test(test_no_decoder),
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_stream_fallback), cmocka_unit_test(test_stream_bytes), cmocka_unit_test(test_stream_held),
		cmocka_unit_test(test_stream_refused), cmocka_unit_test(test_template), cmocka_unit_test(test_bytes_fall_back), cmocka_unit_test(test_long_runs),
		cmocka_unit_test(test_truncated), cmocka_unit_test(test_mutated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
