"""Vocabulary that several kinds of question share."""

from __future__ import annotations

# Words that change nothing about what is asked where the rest of a question leaves no doubt. Only for
# kinds whose ``asks`` are telling. Words of wish and duty ("should", "need") are not among them.
PLAIN = (
    " i you we it they he she one me us them my your our its their his her myself yourself someone somebody robot"
    " would do does did has have be am if for with by at in on to from as so and or but than then that what which"
    " how when where while whether give gives given let lets tell say says said saying know show shows shown find"
    " finds found look looks looking see sees seen saw think thinking thought guess reckon call called consider"
    " considers considered considering assume assuming suppose supposing imagine imagining picture compare compared"
    " comparing pick picks choose chooses chosen select selects identify identified determine calculate compute"
    " estimate estimated estimation measure measured measuring measurement measurements name names named report"
    " check talking about regarding concerning ask asks asked asking answer answers question questions wonder"
    " curious according based basis judging knowing remember recall recalling remembering memory review reviewing"
    " mentally replay replaying please just simply really actually basically well ok okay exact exactly precise"
    " precisely accurate accurately approximate approximately approx rough roughly ballpark total overall altogether"
    " together whole entire entirely number figure value amount result single numeric numerical decimal decimals"
    " place places digit digits unit units whichever whatever here there now currently present moment already ever"
    " still each every all any both either these those of thing things object objects item items category categories"
    " ones following listed list scene video clip footage recording film walkthrough tour scan scanned map mapped"
    " layout room rooms space environment mentioned option options choice choices reference between among amongst"
    " respect regard terms relative help thanks pretend pretending assess assessing judge judged task tasks problem"
    " exercise purpose purposes pair possible available describes described denote denotes refer refers draw drawn"
    " drew note track tracking study studying examine examining inspect inspecting analyse analyze analysing"
    " analyzing browse browsing viewer observer list lists specify state indicate indicates respective respectively"
    " corresponding suitable appropriate decide evaluate evaluating provide provided resulting say accordingly"
    " namely shall we're"
)
LENGTHS = " metres centimetres millimetres feet inches unit units measured in expressed given"
ROUGHLY = " roughly about approximately approx exact exactly precise precisely estimated estimate total"

# "That you can see", "that have been mapped": the map holds nothing else.
SEEN = (
    r"(?:that |which )?(?:can|could|have|has|were|are|was) (?:be|been)? ?"
    r"(?:seen|visible|found|spotted|detected|observed|shown|recorded|mapped)",
    r"(?:that |which )?(?:can |could |do |did |have |has )?(?:you|i|we|robot|camera)"
    r"(?: can| could| have| did| do| has)? (?:saw|see|seen|find|found|count|counted|spot|spotted|detect|detected"
    r"|observe|observed|notice|noticed|know|recorded|mapped)",
)

# Whoever asks, or is asked: the one whose viewpoint counts.
ME = ("i", "me", "we", "us", "myself", "you", "robot", "camera", "here", "yourself")
