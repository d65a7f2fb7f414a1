"""The names under which the session keeps things, and which of them outlive a page or end with a case."""

CASE = "case"
FORMER = "former_case"
UPLOADS = "upload_number"
VISITED = "visited"
MODELS = "models_chosen_by_hand"
CHECKED, ADDED, WEIGHTS = "checked_model", "added_model", "weights_number"
# The tour: what it laid aside, where it stands, whether its last film was answered.
ASIDE, TOUR_STOP, TOUR_TOLD = "laid_aside", "tour_stop", "tour_told"
# Who reads, what is still to be written, their desk for each case, what stands in the form of the case in front. The form is not
# KEPT: a click while a page runs would be overruled by what was kept; the desk fills it again.
READER, OUTBOX, DESKS, READ = "reader", "outbox", "desks", "read"
INACTIVE, SHOWN_ANYWAY, SET_LEVEL = "inactive_model", "shown_anyway", "set_level"

FRAME, SLICE_RUN, EXPLANATION_RUN = "frame", "slice_run", "explanation_run"
TRUST_RUN, TRUST_LABEL = "trust_run", "trust_label"
WATCHED_RUN, ASKED = "watched_run", "asked"
ASK_FILL, ASK_LABEL, COMPARED = "ask_fill", "ask_label", "compared"
OF_LABEL, THRESHOLD, PREVALENCE = "of_label", "threshold", "prevalence"
METHOD, MAP_LAYER, AGAINST = "method", "map_layer", "against"
LAYER, ORDER, SCALE, CHANNEL = "layer", "order", "scale", "channel"
# Which part of Network and of Bench is shown, and all choices of a case inside the network.
VIEW, BENCH, INSIDE, LESSON = "view", "bench", "inside", "lesson"
# The settings of the live training and the table of its runs belong to no case.
LIVE, LIVE_RUNS = "live_training", "live_training_runs"
SAMPLE, SERIES, FOLDER, BY_HAND, READ_BY = "sample", "series", "folder", "by_hand", "read_by"
# The worklist: its choices, the number of its upload, what came of that, what was asked of it last.
LIST_ORDER, LIST_READ, LIST_WORDS, LIST_BLIND, LIST_FOLDER = (
    "list_order",
    "list_read",
    "list_words",
    "list_blind",
    "list_folder",
)
LIST_UPLOADS, LIST_TAKEN, LIST_ASKED = "list_uploads", "list_taken", "list_asked"
# What the reader chose stays when the page changes; Streamlit forgets a widget that is not drawn.
KEPT = (LAYER, VIEW, BENCH, LESSON, LIVE, INSIDE, ORDER, SCALE, CHANNEL, FOLDER, METHOD, MAP_LAYER, AGAINST, TRUST_LABEL,
         ASK_FILL, ASK_LABEL, COMPARED, SET_LEVEL, OF_LABEL, THRESHOLD, PREVALENCE,
         LIST_ORDER, LIST_READ, LIST_WORDS, LIST_BLIND, LIST_FOLDER)  # fmt: skip
RUNS = (SLICE_RUN, EXPLANATION_RUN, TRUST_RUN, WATCHED_RUN)
OF_THE_CASE = (FRAME, *RUNS, SERIES, LAYER, CHANNEL, INSIDE, READ_BY, MAP_LAYER, AGAINST, TRUST_LABEL, ASK_LABEL, ASKED,
                COMPARED, SHOWN_ANYWAY, READ)  # fmt: skip
