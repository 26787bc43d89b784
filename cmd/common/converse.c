#include "common/converse.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/feed.h"
#include "run/session.h"
#include "stage/encode.h"
#include "stage/prompt_text.h"

enum { MAX_PICTURES = 64 };

static const char help[] = "Write a message and press Enter. A message may show pictures that were added before it, in order, as <image>;\n"
			   "those that it does not mention come first.\n"
			   "  /image FILE   add a picture to the next message\n"
			   "  /reset        forget the conversation\n"
			   "  /help         this text\n"
			   "  /quit         end (so does the end of the input); Ctrl-C stops an answer\n";

/* What has been said, and what waits for the next message. */
struct talk {
	const struct converse *c;
	struct moe_session session;
	struct moe_image_plan plan;
	struct moe_arena pictures;      /* features that wait */
	struct moe_patch_grid grid[MAX_PICTURES];
	float *feature[MAX_PICTURES];
	size_t n_pictures;
	struct moe_ids said;            /* all ids of the conversation */
	int32_t last;                   /* the last id of an answer, which is not in the caches yet; -1: none */
	char *rest;                     /* what is missing of the last answer's turn */
	uint64_t turn;
	struct moe_reply *reply;        /* the answer in the making */
	struct moe_arena scratch;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

/* Ctrl-C sets `interrupted`, and gives up the line that is being read; what is being written is written whole. */
static void catch_interrupts(bool reading)
{
	sigaction(SIGINT, &(struct sigaction){.sa_handler = on_interrupt, .sa_flags = reading ? 0 : SA_RESTART}, NULL);
}

static bool formatted(const struct moe_spec *s) { return *s->chat.turn || *s->chat.user; }

/* What the format writes behind an answer. */
static const char *answer_tail(const struct moe_spec *s)
{
	const char *turn = *s->chat.assistant ? s->chat.assistant : s->chat.turn, *mark = strstr(turn, "{content}");

	return mark ? mark + strlen("{content}") : "";
}

/* Each message is a question of its own about the picture that was added last: nothing but the picture is kept. */
static bool asks(const struct talk *t) { return moe_chat_is_about_picture(&t->c->model->spec->chat); }

static void forget_words(struct talk *t)
{
	struct moe_diag d = {0};

	cli_check(moe_session_next(&t->session, &d), &d);
	t->said.n = 0;
	t->last = -1;
	free(t->rest);
	t->rest = NULL;
}

static void forget_pictures(struct talk *t)
{
	t->n_pictures = 0;
	moe_arena_reset(&t->pictures);
}

static void reset(struct talk *t)
{
	forget_words(t);
	forget_pictures(t);
}

/* The picture's features wait for the next message. */
static void add_picture(struct talk *t, const char *path)
{
	const struct converse *c = t->c;
	struct moe_feed_options o = {.decode = moe_decode_from_spec(c->model->spec)};
	struct moe_compute work = {&t->pictures, c->pool, NULL};
	struct moe_feed_item item = {0};
	struct moe_feed *feed;
	struct moe_diag d = {0};
	char text[800];
	enum moe_err err;

	if (c->model->spec->merge.placeholder < 0) {
		cli_say("the family %s takes no pictures", c->model->spec->family);
		return;
	}
	if (asks(t))
		forget_pictures(t);
	if (t->n_pictures == MAX_PICTURES) {
		cli_say("no more than %d pictures in a message", MAX_PICTURES);
		return;
	}
	o.decode.no_sandbox = o.archive.no_sandbox = c->no_sandbox;
	cli_check(moe_feed_new(&feed, &o, &d), &d);
	err = moe_feed_add(feed, path, &d);
	if (!err)
		err = moe_feed_next(feed, &item, &d);
	if (!err && item.failure.code) {
		d = item.failure;
		err = d.code;
	}
	if (!err)
		err = moe_picture_encode(c->model, &t->plan, &item.picture, &t->feature[t->n_pictures], &t->grid[t->n_pictures], &work, &d);
	if (err)
		cli_say("%s", err == MOE_END ? "there is no picture" : moe_diag_string(&d, text, sizeof text));
	else
		t->n_pictures++;
	moe_feed_item_clear(&item);
	moe_feed_free(feed);
}

/* The message with a mark for every picture that it does not mention; to be freed. */
static char *mention_pictures(const struct talk *t, const char *message)
{
	size_t mentioned = 0, n;
	char *out = NULL;
	FILE *f = open_memstream(&out, &n);

	if (!f)
		cli_fail("out of memory");
	for (const char *p = message; (p = strstr(p, "<image>")); p++)
		mentioned++;
	for (size_t i = mentioned; i < t->n_pictures; i++)
		fputs("<image>", f);
	fputs(message, f);
	if (fclose(f))
		cli_fail("out of memory");
	return out;
}

/* The text that this message adds to the conversation; to be freed. */
static char *turn_text(struct talk *t, const char *message, size_t *n)
{
	const struct moe_spec *s = t->c->model->spec;
	struct moe_prompt_form form = {.chat = formatted(s)};
	struct moe_chat chat = s->chat;
	struct moe_message m[2] = {{(char *)(uintptr_t)"system", (char *)(uintptr_t)t->c->system, t->c->system ? strlen(t->c->system) : 0}, {0}};
	bool first = !t->said.n, with_system = first && t->c->system;
	struct moe_diag d = {0};
	char *mentioned = mention_pictures(t, message), *marked, *out, *whole;

	marked = moe_prompt_marks(s, &form, mentioned, strlen(mentioned), n);
	free(mentioned);
	if (!marked)
		cli_fail("out of memory");
	if (!formatted(s))
		return marked;
	m[1] = (struct moe_message){(char *)(uintptr_t)"user", marked, *n};
	if (!first)             /* the conversation has begun already */
		chat.begin[0] = chat.default_system[0] = 0;
	cli_check(moe_chat_render(&chat, with_system ? m : m + 1, with_system ? 2 : 1, true, &out, n, &d), &d);
	free(marked);
	if (!t->rest)
		return out;
	if (asprintf(&whole, "%s%s", t->rest, out) < 0)
		cli_fail("out of memory");
	free(out);
	*n = strlen(whole);
	return whole;
}

static enum moe_err take_logits(void *self, size_t first, size_t count, const float *logit, struct moe_diag *d)
{
	struct talk *t = self;

	(void)first;
	(void)count;
	return moe_reply_next(t->reply, t->c->generation, logit, t->turn, &t->scratch, d);
}

/* Adds ids to the conversation, and the next token of the answer to t->reply. */
static enum moe_err step(struct talk *t, const int32_t *id, size_t n, bool pictures, struct moe_diag *d)
{
	moe_arena_reset(&t->scratch);
	t->session.step = t->reply->ids.n;
	return moe_session_extend(&t->session, id, n, pictures && t->n_pictures ? t->grid : NULL, t->feature, false, take_logits, t, d);
}

static void show(const struct moe_reply *r, size_t *shown)
{
	size_t sure = r->done ? r->n_text : r->n_sure;

	if (sure > *shown)
		fwrite(r->text + *shown, 1, sure - *shown, stdout);
	*shown = sure > *shown ? sure : *shown;
	fflush(stdout);
}

/* What the answer did not say itself of the end of its turn. */
static void remember_end(struct talk *t, const struct moe_reply *r)
{
	const struct moe_spec *s = t->c->model->spec;
	const char *tail = answer_tail(s), *token;
	size_t n = 0;

	free(t->rest);
	if (r->done && r->finish == MOE_FINISH_STOP) {
		for (size_t i = 0; i < s->chat.stop.n; i++)
			if (!strncmp(tail, s->chat.stop.v[i], strlen(s->chat.stop.v[i])))
				n = strlen(s->chat.stop.v[i]);
	} else if (r->done && r->finish == MOE_FINISH_END && (token = moe_tokenizer_token(t->c->tokenizer, t->last, &n))) {
		n = strlen(tail) >= n && !memcmp(tail, token, n) ? n : 0;
	}
	t->rest = strdup(tail + n);
	if (!t->rest)
		cli_fail("out of memory");
}

static void keep(struct talk *t, const int32_t *id, size_t n)
{
	struct moe_diag d = {0};

	cli_check(moe_grow(&t->said.id, &t->said.cap, t->said.n + n + 1, sizeof *t->said.id, &d), &d);
	memcpy(t->said.id + t->said.n, id, n * sizeof *id);
	t->said.n += n;
}

/* Ids that the message adds; the last one of the answer before comes first, since it is not in the caches. False when they cannot be. */
static bool message_ids(struct talk *t, const char *message, struct moe_ids *ids)
{
	const struct moe_spec *s = t->c->model->spec;
	size_t n, pictures = 0;
	char *text = turn_text(t, message, &n);
	struct moe_diag d = {0};

	if (t->last >= 0) {
		cli_check(moe_grow(&ids->id, &ids->cap, 1, sizeof *ids->id, &d), &d);
		ids->id[ids->n++] = t->last;
	}
	cli_check(moe_text_encode(t->c->tokenizer, s, text, n, !t->said.n && !formatted(s), ids, &d), &d);
	free(text);
	for (size_t i = 0; i < ids->n; i++)
		pictures += s->merge.placeholder >= 0 && ids->id[i] == s->merge.placeholder;
	if (pictures == t->n_pictures)
		return true;
	cli_say("the message shows %zu pictures, but %zu were added (/image FILE adds one)", pictures, t->n_pictures);
	return false;
}

static void answer(struct talk *t, const char *message)
{
	struct moe_reply r = {0};
	struct moe_ids ids = {0};
	struct moe_diag d = {0};
	size_t shown = 0;
	enum moe_err err;

	if (asks(t))
		forget_words(t);
	if (!message_ids(t, message, &ids)) {
		free(ids.id);
		return;
	}
	interrupted = 0;
	t->reply = &r;
	cli_check(moe_reply_prompt(&r, t->c->generation, t->said.id, t->said.n, &d), &d);
	cli_check(moe_reply_prompt(&r, t->c->generation, ids.id, ids.n, &d), &d);
	err = step(t, ids.id, ids.n, true, &d);
	for (; !err && !r.done && !interrupted; err = step(t, &r.ids.id[r.ids.n - 1], 1, false, &d))
		show(&r, &shown);
	cli_check(err, &d);
	cli_check(moe_reply_end(&r, t->c->generation, &d), &d);
	show(&r, &shown);
	putchar('\n');
	keep(t, ids.id + (t->last >= 0), ids.n - (t->last >= 0));
	keep(t, r.ids.id, r.ids.n);
	t->last = r.ids.id[r.ids.n - 1];
	t->turn++;
	if (!asks(t))
		forget_pictures(t);
	remember_end(t, &r);
	moe_reply_free(&r);
	free(ids.id);
}

/* Does what a line says; false: the end. */
static bool obey(struct talk *t, char *line)
{
	if (!strcmp(line, "/quit"))
		return false;
	if (!strcmp(line, "/help"))
		fputs(help, stdout);
	else if (!strcmp(line, "/reset"))
		reset(t);
	else if (!strncmp(line, "/image ", 7))
		add_picture(t, line + 7 + strspn(line + 7, " "));
	else if (*line == '/')
		cli_say("there is no command %.40s (/help lists them)", line);
	else if (*line)
		answer(t, line);
	return true;
}

static ssize_t read_line(char **line, size_t *cap, bool terminal)
{
	ssize_t n;

	for (;;) {
		if (terminal) {
			fputs("> ", stdout);
			fflush(stdout);
		}
		catch_interrupts(true);
		n = getline(line, cap, stdin);
		catch_interrupts(false);
		if (n >= 0 || errno != EINTR || feof(stdin))
			return n;
		clearerr(stdin);
		fputs("\n(/quit or Ctrl-D ends)\n", stdout);
	}
}

int converse_run(const struct converse *c)
{
	bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	struct talk t = {.c = c, .last = -1};
	struct moe_diag d = {0};
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	cli_check(moe_session_init(&t.session, c->model, c->pool, &d), &d);
	t.session.tracing = c->tracing;
	if (c->model->spec->tower.kind != MOE_TOWER_NONE)
		cli_check(moe_plan_from_spec(&t.plan, c->model->spec, c->image, &d), &d);
	for (int i = 0; i < c->n_pictures; i++)
		add_picture(&t, c->picture[i]);
	catch_interrupts(false);
	if (terminal && !cli.quiet)
		fputs("/help lists commands; Ctrl-C stops an answer, Ctrl-D ends.\n", stdout);
	while ((n = read_line(&line, &cap, terminal)) >= 0) {
		while (n && strchr("\r\n", line[n - 1]))
			line[--n] = 0;
		if (!obey(&t, line))
			break;
	}
	free(line);
	reset(&t);
	free(t.said.id);
	moe_session_free(&t.session);
	moe_arena_free(&t.pictures);
	moe_arena_free(&t.scratch);
	return cli_close_stdout();
}
