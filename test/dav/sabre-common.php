<?php
// What the server and its setup have in common.
error_reporting(E_ALL & ~E_DEPRECATED); // sabre/dav 1.8 is older than this PHP
ini_set('display_errors', '0');
require '/usr/share/php/Sabre/autoload.php';

const ACCOUNTS = ['alice', 'bob'];

function openDatabase($data)
{
    $database = new PDO("sqlite:$data/sabre.sqlite");
    $database->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_EXCEPTION);
    $database->exec('PRAGMA busy_timeout = 10000');
    return $database;
}
